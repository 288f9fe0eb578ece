package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"jird/orchestrator"
	"jird/population"
	"jird/population/ga"
)

// ErrNoRun is wrapped when no run of an id is known.
var ErrNoRun = errors.New("there is no run")

// ErrNoGenome is wrapped when a run has no genome of a hash.
var ErrNoGenome = errors.New("there is no genome")

// Info is a run as a list shows it.
type Info struct {
	Run         string   `json:"run"`
	Status      string   `json:"status"`
	Stop        string   `json:"stop"`
	Runtime     string   `json:"runtime"`
	Seed        uint64   `json:"seed"`
	Generations int      `json:"generations"` // whole ones so far
	Evaluations int      `json:"evaluations"`
	ShadowsPeak int      `json:"shadows_peak"`
	Best        *float64 `json:"best"` // training score so far; null before the first generation
	Seconds     float64  `json:"seconds"`
	Left        *float64 `json:"seconds_left"` // about, while it runs; for the caller to fill in
	Promoted    *bool    `json:"promoted"`     // null while undecided
	Reason      string   `json:"reason"`
}

// Runs lists all runs, oldest first.
func (l *Ledger) Runs() ([]Info, error) { return l.runs("") }

// Run tells of one run.
func (l *Ledger) Run(id string) (Info, error) {
	all, err := l.runs(id)
	if err != nil {
		return Info{}, err
	}
	if len(all) == 0 {
		return Info{}, noRun(id)
	}
	return all[0], nil
}

// runs lists one run, or for "" all.
func (l *Ledger) runs(only string) ([]Info, error) {
	rows, err := l.db.Query(`SELECT run.id, status, stop, runtime, seed, coalesce(max(g.number), 0), coalesce(max(g.evaluations), 0), shadows_peak,
		max(place.elapsed, coalesce((SELECT max(elapsed) FROM timing WHERE timing.run = run.id), 0)),
		(SELECT decided FROM decision WHERE decision.run = run.id AND number = 1),
		(SELECT scores FROM genome WHERE genome.run = run.id AND status = 'ok' AND hash = (SELECT best ->> '$[0][0]' FROM generation b WHERE b.run = run.id ORDER BY number DESC LIMIT 1))
		FROM run JOIN place ON place.run = run.id LEFT JOIN generation g ON g.run = run.id WHERE ?1 IN ('', run.id) GROUP BY run.id ORDER BY place.started, run.id`, only)
	if err != nil {
		return nil, l.fault(err)
	}
	defer rows.Close()
	all := []Info{}
	for rows.Next() {
		var i Info
		var elapsed, seed int64
		var decided, scores sql.NullString
		if err := rows.Scan(&i.Run, &i.Status, &i.Stop, &i.Runtime, &seed, &i.Generations, &i.Evaluations, &i.ShadowsPeak, &elapsed, &decided, &scores); err != nil {
			return nil, l.fault(err)
		}
		if scores.Valid {
			best, err := readScores(scores.String)
			if err != nil {
				return nil, l.damage("the best genome of run %s: %w", i.Run, err)
			}
			mean := population.Mean(best)
			i.Best = &mean
		}
		i.Seed, i.Seconds = uint64(seed), time.Duration(elapsed).Seconds()
		if i.Promoted, i.Reason, err = verdict(decided); err != nil {
			return nil, l.damage("run %s: %w", i.Run, err)
		}
		all = append(all, i)
	}
	return all, l.fault(rows.Err())
}

// verdict is what a decision found, if there is one.
func verdict(decided sql.NullString) (promoted *bool, reason string, err error) {
	if !decided.Valid {
		return nil, "", nil
	}
	var v Evidence
	err = json.Unmarshal([]byte(decided.String), &v)
	return &v.Promoted, v.Reason, err
}

// Load implements orchestrator.Recorder.
func (l *Ledger) Load(run string) (*orchestrator.Stored, error) {
	s := &orchestrator.Stored{}
	r := &s.Run
	var seed, budget int64
	var started string
	err := l.db.QueryRow(`SELECT id, name, variant, spec, spec_hash, agent, evaluator, runtime, seed, generations, budget, repeat, status, stop, started
		FROM run JOIN place ON place.run = run.id WHERE id = ?`, run).Scan(&r.ID, &r.Name, &r.Variant, &r.Spec, &r.SpecHash, &r.Agent,
		&r.Evaluator, &r.Runtime, &seed, &r.Generations, &budget, &r.Repeat, &s.Status, &s.Stop, &started)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noRun(run)
	}
	if err != nil {
		return nil, l.fault(err)
	}
	r.Seed, r.Budget = uint64(seed), time.Duration(budget)
	if s.Started, err = time.Parse(time.RFC3339, started); err != nil {
		return nil, l.damage("run %s: %w", run, err)
	}
	if s.Last, err = l.last(run); err != nil {
		return nil, err
	}
	var elapsed sql.NullInt64
	if err := l.db.QueryRow("SELECT max(elapsed) FROM timing WHERE run = ?", run).Scan(&elapsed); err != nil {
		return nil, l.fault(err)
	}
	s.Elapsed = time.Duration(elapsed.Int64)
	if s.Last != nil {
		if s.Spent, err = l.spent(run, s.Last.Generation); err != nil {
			return nil, l.damage("what the proposers of run %s used: %w", run, err)
		}
	}
	return s, nil
}

func (l *Ledger) last(run string) (*ga.State, error) {
	var islands, best string
	s := &ga.State{}
	err := l.db.QueryRow("SELECT number, evaluations, stagnant, islands, best FROM generation WHERE run = ? ORDER BY number DESC LIMIT 1", run).
		Scan(&s.Generation, &s.Evaluations, &s.Stagnant, &islands, &best)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, l.fault(err)
	}
	var cohorts [][]member
	var hall []member
	if err := errors.Join(json.Unmarshal([]byte(islands), &cohorts), json.Unmarshal([]byte(best), &hall)); err != nil {
		return nil, l.damage("run %s, generation %d is damaged: %w", run, s.Generation, err)
	}
	genomes, outcomes, err := l.genomes(run)
	if err != nil {
		return nil, err
	}
	restore := func(members []member) ([]ga.Member, error) {
		var all []ga.Member
		for _, m := range members {
			if len(m) < 2 || genomes[m[0]] == nil {
				return nil, l.damage("run %s, generation %d names a genome that is not there", run, s.Generation)
			}
			all = append(all, ga.Member{Genome: genomes[m[0]], Outcome: outcomes[m[0]], Op: m[1], Parents: m[2:]})
		}
		return all, nil
	}
	for _, c := range cohorts {
		cohort, err := restore(c)
		if err != nil {
			return nil, err
		}
		s.Islands = append(s.Islands, cohort)
	}
	if s.Best, err = restore(hall); err != nil {
		return nil, err
	}
	cells, credit, err := l.steering(run, s.Generation)
	if err != nil {
		return nil, err
	}
	s.Credit = credit
	s.Archive, err = restore(cells)
	return s, err
}

// genomes returns all genomes of a run with their training outcomes.
func (l *Ledger) genomes(run string) (map[string]*population.Genome, map[string]population.Outcome, error) {
	all, err := l.measured(run, "SELECT hash, source, status, detail, steps, scores FROM genome WHERE run = ? ORDER BY sequence")
	genomes, outcomes := map[string]*population.Genome{}, map[string]population.Outcome{}
	for _, m := range all {
		genomes[m.Genome.Hash()], outcomes[m.Genome.Hash()] = m.Genome, m.Outcome
	}
	return genomes, outcomes, errors.Join(err, l.addFeatures(run, outcomes))
}

// measured reads what a query of a run's genomes and outcomes selects.
func (l *Ledger) measured(run, query string) ([]population.Measured, error) {
	spec, err := l.Spec(run)
	if err != nil {
		return nil, err
	}
	grammar, err := l.grammar(spec)
	if err != nil {
		return nil, l.damage("spec of run %s: %w", run, err)
	}
	rows, err := l.db.Query(query, run)
	if err != nil {
		return nil, l.fault(err)
	}
	defer rows.Close()
	var all []population.Measured
	for rows.Next() {
		var hash, source, scores string
		var o population.Outcome
		if err := rows.Scan(&hash, &source, &o.Status, &o.Detail, &o.Steps, &scores); err != nil {
			return nil, l.fault(err)
		}
		var pairs [][2]float64
		if err := json.Unmarshal([]byte(scores), &pairs); err != nil {
			return nil, l.damage("genome %s of run %s: %w", hash, run, err)
		}
		o.Scores = population.FromPairs(pairs)
		g, err := grammar.Parse([]byte(source))
		if err == nil && g.Hash() != hash {
			err = errors.New("its text has another hash")
		}
		if err != nil {
			return nil, l.damage("genome %s of run %s: %w", hash, run, err)
		}
		all = append(all, population.Measured{Genome: g, Outcome: o})
	}
	return all, l.fault(rows.Err())
}

// Outcomes implements orchestrator.Recorder.
func (l *Ledger) Outcomes(run string) (map[string]population.Outcome, error) {
	_, outcomes, err := l.genomes(run)
	return outcomes, err
}

type export struct{ table, query string }

// exports are the tables of a run that depend on nothing but its inputs, each
// with the order of its rows. Every row becomes one JSON object.
var exports = []export{
	{"run", "SELECT json_object('table','run','id',id,'name',name,'variant',variant,'spec',json(spec),'spec_hash',spec_hash,'agent',agent,'evaluator',evaluator,'runtime',runtime,'seed',seed,'generations',generations,'budget',budget,'repeat',repeat) FROM run WHERE id=?"},
	{"genome", "SELECT json_object('table','genome','sequence',sequence,'hash',hash,'source',source,'generation',generation,'operator',operator,'parents',json(parents),'status',status,'detail',detail,'steps',steps,'scores',json(scores)) FROM genome WHERE run=? ORDER BY sequence"},
	{"generation", "SELECT json_object('table','generation','number',number,'evaluations',evaluations,'stagnant',stagnant,'islands',json(islands),'best',json(best)) FROM generation WHERE run=? ORDER BY number"},
	{"feature", "SELECT json_object('table','feature','hash',hash,'features',json(features)) FROM feature WHERE run=? ORDER BY hash"},
	{"steering", "SELECT json_object('table','steering','number',number,'archive',json(archive),'credit',json(credit)) FROM steering WHERE run=? ORDER BY number"},
	{"exchange", "SELECT json_object('table','exchange','hash',hash,'proposer',proposer,'request',json(request),'answer',hex(answer),'failure',failure,'attempts',attempts,'tokens_in',tokens_in,'tokens_out',tokens_out,'micros',micros) FROM exchange WHERE run=? ORDER BY hash"},
	{"measurement", "SELECT json_object('table','measurement','purpose',purpose,'hash',hash,'source',source,'status',status,'detail',detail,'steps',steps,'scores',json(scores)) FROM measurement WHERE run=? ORDER BY purpose, hash"},
	{"decision", "SELECT json_object('table','decision','number',number,'declared',json(declared),'decided',json(decided)) FROM decision WHERE run=? ORDER BY number"},
}

// tournamentExports are the same of a tournament.
var tournamentExports = []export{
	{"tournament", "SELECT json_object('table','tournament','id',id,'name',name,'spec',json(spec),'spec_hash',spec_hash,'agent',agent,'evaluator',evaluator,'runtime',runtime,'seed',seed,'repeat',repeat) FROM tournament WHERE id=?"},
	{"entrant", "SELECT json_object('table','entrant','number',number,'name',name,'side',side,'held_out',json(iif(held_out,'true','false')),'hash',hash,'source',source) FROM entrant WHERE tournament=? ORDER BY number"},
	{"coevolution", "SELECT json_object('table','coevolution','generation',generation,'side',side,'evaluations',evaluations,'stagnant',stagnant,'islands',json(islands),'best',json(best)) FROM coevolution WHERE tournament=? ORDER BY generation, side"},
	{"match", "SELECT json_object('table','match','number',number,'round',round,'blue',blue,'red',red,'seed',seed,'verdict',verdict,'detail',detail,'blue_points',blue_points,'red_points',red_points,'blue_steps',blue_steps,'red_steps',red_steps) FROM match WHERE tournament=? ORDER BY number"},
	{"decision", "SELECT json_object('table','decision','number',number,'declared',json(declared),'decided',json(decided)) FROM decision WHERE run=? ORDER BY number"},
}

// Export writes a run or a tournament as JSON Lines. Equal ones export equal bytes,
// whatever the time, the place and the number of workers.
func (l *Ledger) Export(w io.Writer, run string) error {
	kind, err := l.kind(run)
	if err != nil {
		return err
	}
	for _, e := range exportsOf(kind) {
		if err := exportTable(l.db, w, run, e.query); err != nil {
			return fmt.Errorf("exporting %s of run %s: %w", e.table, run, l.fault(err))
		}
	}
	return nil
}

// kind tells whether an id is of a "run" or a "tournament".
func (l *Ledger) kind(id string) (string, error) {
	if has, err := l.HasTournament(id); err != nil || has {
		return "tournament", err
	}
	return "run", l.want(id)
}

func exportsOf(kind string) []export {
	if kind == "tournament" {
		return tournamentExports
	}
	return exports
}

func exportTable(q querier, w io.Writer, run, query string) error {
	rows, err := q.Query(query, run)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return err
		}
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Has tells whether the ledger holds a run of that id.
func (l *Ledger) Has(run string) (bool, error) {
	var n int
	err := l.db.QueryRow("SELECT count(*) FROM run WHERE id = ?", run).Scan(&n)
	return n > 0, l.fault(err)
}

func (l *Ledger) want(run string) error {
	has, err := l.Has(run)
	if err == nil && !has {
		err = noRun(run)
	}
	return err
}

// Spec returns the recorded spec of a run.
func (l *Ledger) Spec(run string) (spec string, err error) {
	err = l.db.QueryRow("SELECT spec FROM run WHERE id = ?", run).Scan(&spec)
	if errors.Is(err, sql.ErrNoRows) {
		return "", noRun(run)
	}
	return spec, l.fault(err)
}

func noRun(run string) error {
	return fmt.Errorf("%w %s in the ledger; `jird status` lists them", ErrNoRun, run)
}
