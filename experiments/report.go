package experiments

import (
	"fmt"

	"jird/experiments/ledger"
	"jird/experiments/report"
	"jird/snapshots"
)

// RunReport gathers all that a report of a run shows.
func (l *Lab) RunReport(run string) (r *report.Run, err error) {
	r = &report.Run{}
	if r.Report, err = l.Report(run); err != nil {
		return nil, err
	}
	if r.Decision, err = l.Ledger.Decision(run); err != nil {
		return nil, err
	}
	r.Images = l.images(r.Origin, r.Decision)
	return r, nil
}

// TournamentReport gathers all that a report of a tournament shows.
func (l *Lab) TournamentReport(id string) (*report.Tournament, error) {
	p, played, err := l.playedSoFar(id)
	if err != nil {
		return nil, err
	}
	r := &report.Tournament{Sides: p.SideNames, Matrix: p.Matrix(played)}
	if r.Standings, err = l.reckoned(p, played); err != nil {
		return nil, err
	}
	if r.Origin, err = l.Ledger.TournamentOrigin(id); err != nil {
		return nil, err
	}
	if r.Reigns, err = l.Ledger.Reigns(id); err != nil {
		return nil, err
	}
	if r.Decision, err = l.Ledger.Decision(id); err != nil {
		return nil, err
	}
	r.Images = l.images(r.Origin, r.Decision)
	info, err := l.Ledger.Tournament(id)
	if err != nil {
		return nil, err
	}
	err = l.complement(&info, p)
	r.Status = info.Status
	return r, err
}

// images says of each snapshot that a report names what the vault has of it: a report is
// made all the same where it has been deleted.
func (l *Lab) images(o ledger.Origin, e *ledger.Explanation) []report.Image {
	all := []report.Image{{What: "agent snapshot", ID: o.Agent}}
	if e != nil {
		all = append(all, report.Image{What: "winner's snapshot", ID: e.Declared.WinnerImage})
	}
	for i := range all {
		image, err := l.Vault.Get(snapshots.ID(all[i].ID))
		if err != nil {
			all[i].Here = "is not whole in this vault"
			continue
		}
		bytes := 0
		for _, f := range image.Files {
			bytes += len(f.Data)
		}
		all[i].Here = fmt.Sprintf("(%d files, %d bytes)", len(image.Files), bytes)
	}
	return all
}
