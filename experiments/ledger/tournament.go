package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"jird/orchestrator"
)

var _ orchestrator.Rounds = (*Ledger)(nil)

// BeginTournament implements orchestrator.Rounds.
func (l *Ledger) BeginTournament(r orchestrator.TournamentRecord, entrants []orchestrator.Entrant) error {
	return l.write(func(tx *sql.Tx) error {
		if _, err := tx.Exec("INSERT INTO tournament VALUES (?,?,?,?,?,?,?,?,?)", r.ID, r.Name, r.Spec, r.SpecHash, r.Agent, r.Evaluator, r.Runtime,
			int64(r.Seed), r.Repeat); err != nil {
			return fmt.Errorf("tournament %s: %w", r.ID, err)
		}
		if err := enter(tx, r.ID, 0, entrants); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO tournament_place VALUES (?,?,?)", r.ID, time.Now().UTC().Format(time.RFC3339), l.Jird)
		return err
	})
}

// Round implements orchestrator.Rounds.
func (l *Ledger) Round(tournament string, number int, matches []orchestrator.PlayedMatch) error {
	return l.write(func(tx *sql.Tx) error {
		insert, err := tx.Prepare("INSERT INTO match VALUES (?,?,?,?,?,?,?,?,?,?,?,?)")
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, m := range matches {
			r := m.Result
			if _, err := insert.Exec(tournament, m.Number, number, m.Blue, m.Red, int64(m.Seed), string(r.Verdict), r.Detail, r.Blue, r.Red, r.BlueSteps, r.RedSteps); err != nil {
				return err
			}
		}
		return nil
	})
}

// Played implements orchestrator.Rounds.
func (l *Ledger) Played(tournament string) (matches []orchestrator.PlayedMatch, rounds int, err error) {
	rows, err := l.db.Query("SELECT number, round, blue, red, seed, verdict, detail, blue_points, red_points, blue_steps, red_steps FROM match WHERE tournament = ? ORDER BY number", tournament)
	if err != nil {
		return nil, 0, l.fault(err)
	}
	defer rows.Close()
	for rows.Next() {
		var m orchestrator.PlayedMatch
		var round int
		var seed int64
		r := &m.Result
		if err := rows.Scan(&m.Number, &round, &m.Blue, &m.Red, &seed, &r.Verdict, &r.Detail, &r.Blue, &r.Red, &r.BlueSteps, &r.RedSteps); err != nil {
			return nil, 0, l.fault(err)
		}
		m.Seed = uint64(seed)
		matches, rounds = append(matches, m), round+1
	}
	return matches, rounds, l.fault(rows.Err())
}

// TournamentInfo is a tournament as a list shows it. What the ledger does not say, its
// status and how many generations and rounds there will be, is for the caller to fill in.
type TournamentInfo struct {
	Run           string `json:"run"`
	Status        string `json:"status"`
	Runtime       string `json:"runtime"`
	Seed          uint64 `json:"seed"`
	Generations   int    `json:"generations"` // whole ones of both sides so far
	GenerationsOf int    `json:"generations_of"`
	Rounds        int    `json:"rounds"` // whole ones so far
	RoundsOf      int    `json:"rounds_of"`
	Matches       int    `json:"matches"`
	Promoted      *bool  `json:"promoted"` // null while undecided, or if nobody is to be handed over
	Reason        string `json:"reason"`
}

// Tournaments lists all tournaments, oldest first.
func (l *Ledger) Tournaments() ([]TournamentInfo, error) { return l.tournaments("") }

// Tournament tells of one tournament.
func (l *Ledger) Tournament(id string) (TournamentInfo, error) {
	all, err := l.tournaments(id)
	if err != nil {
		return TournamentInfo{}, err
	}
	if len(all) == 0 {
		return TournamentInfo{}, noRun(id)
	}
	return all[0], nil
}

// tournaments lists one tournament, or for "" all.
func (l *Ledger) tournaments(only string) ([]TournamentInfo, error) {
	rows, err := l.db.Query(`SELECT id, runtime, tournament.seed, coalesce(max(round) + 1, 0), count(match.number),
		(SELECT coalesce(max(generation), 0) FROM coevolution WHERE coevolution.tournament = id),
		(SELECT decided FROM decision WHERE decision.run = id AND decision.number = 1) FROM tournament
		JOIN tournament_place p ON p.tournament = id LEFT JOIN match ON match.tournament = id WHERE ?1 IN ('', id) GROUP BY id ORDER BY p.started, id`, only)
	if err != nil {
		return nil, l.fault(err)
	}
	defer rows.Close()
	all := []TournamentInfo{}
	for rows.Next() {
		var i TournamentInfo
		var seed int64
		var decided sql.NullString
		if err := rows.Scan(&i.Run, &i.Runtime, &seed, &i.Rounds, &i.Matches, &i.Generations, &decided); err != nil {
			return nil, l.fault(err)
		}
		i.Seed = uint64(seed)
		if i.Promoted, i.Reason, err = verdict(decided); err != nil {
			return nil, l.damage("tournament %s: %w", i.Run, err)
		}
		all = append(all, i)
	}
	return all, l.fault(rows.Err())
}

// HasTournament tells whether the ledger holds a tournament of that id.
func (l *Ledger) HasTournament(id string) (bool, error) {
	_, err := l.LoadTournament(id)
	if errors.Is(err, ErrNoRun) {
		return false, nil
	}
	return err == nil, err
}

// LoadTournament returns what identifies a tournament.
func (l *Ledger) LoadTournament(id string) (*orchestrator.TournamentRecord, error) {
	r := &orchestrator.TournamentRecord{}
	var seed int64
	err := l.db.QueryRow("SELECT id, name, spec, spec_hash, agent, evaluator, runtime, seed, repeat FROM tournament WHERE id = ?", id).
		Scan(&r.ID, &r.Name, &r.Spec, &r.SpecHash, &r.Agent, &r.Evaluator, &r.Runtime, &seed, &r.Repeat)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noRun(id)
	}
	r.Seed = uint64(seed)
	return r, l.fault(err)
}

// TournamentOrigin reads what a tournament was made from.
func (l *Ledger) TournamentOrigin(id string) (o Origin, err error) {
	r, err := l.LoadTournament(id)
	if err != nil {
		return o, err
	}
	o = Origin{Name: r.Name, Spec: json.RawMessage(r.Spec), SpecHash: r.SpecHash, Agent: r.Agent, Evaluator: r.Evaluator, Runtime: r.Runtime, Seed: r.Seed, Repeat: r.Repeat}
	err = l.db.QueryRow("SELECT started, jird FROM tournament_place WHERE tournament = ?", id).Scan(&o.Started, &o.Jird)
	return o, l.fault(err)
}
