package rating

import (
	"fmt"

	"gonum.org/v1/gonum/stat/distuv"
)

const (
	// level is the chance, for equals, that one test here says beaten: the usual 5 %.
	level = 0.05
	// alarm is the chance of a warning about cycling where there is none. It is
	// asked after every generation, so it is less than level.
	alarm = 0.01
	// fewestDecisive matches that are not drawn can decide at level: all of five
	// come with 1/32, all of four with 1/16.
	fewestDecisive = 5
	// lopsided is the mean score at which a side wins nearly all: of 20 matches one
	// is lost, so one loser in 20 can be told from the others, and selection among
	// the rest is drift.
	lopsided = 0.95
	// disengagedFor generations on end count: fewer may be a discovery that the
	// other side is about to answer.
	disengagedFor = 5
)

// exceeds is the chance of k or more of n at probability p each.
func exceeds(k, n int, p float64) float64 {
	if k <= 0 {
		return 1
	}
	return distuv.Binomial{N: float64(n), P: 1 - p}.CDF(float64(n - k))
}

// beaten is the chance that equals win so many of their decisive matches, or
// more: the exact one-sided sign test. Draws say nothing of who is better.
func beaten(wins, losses int) float64 { return exceeds(wins, wins+losses, 0.5) }

func (c Cell) decisive() bool { return c.Wins+c.Losses >= fewestDecisive }

func (c Cell) surelyWon() bool { return c.decisive() && beaten(c.Wins, c.Losses) < level }

// Cycling says whether progress goes round in circles: champions that each beat
// the one before, the last of which loses to an old one.
type Cycling struct {
	Found           bool
	Judged          int     // meetings with an older champion since which every step was a win
	Lost            int     // those of them that were surely lost (sign test at 5 %)
	P               float64 // chance of so many, did no such champion lose to an older one
	Champion, Older int     // generations of the widest circle that was lost, if any
}

// FindCycling looks for intransitivity along a series of champions, whose
// matches have seeds of their own: h[g][o], for o < g at least, is what the
// champion of generation g did against the opponents' of o. Of a roster both are
// the same series; of red and blue it is asked once for each.
//
// A meeting of g with o is judged if each champion from o+1 to g surely won
// against the opponents' champion of the generation before it, and the meeting
// had enough decisive matches (five). Were later ones no worse, each would be
// lost with a chance of at most 5 %, on matches of its own: Lost is then at most
// binomial, and P is that tail. Found is P below 1 %.
func FindCycling(h Table) Cycling {
	var c Cycling
	for g := range h {
		for o := g - 2; o >= 0 && h[g][g-1].surelyWon() && h[o+1][o].surelyWon(); o-- {
			if !h[g][o].decisive() {
				continue
			}
			c.Judged++
			if beaten(h[g][o].Losses, h[g][o].Wins) < level {
				c.Lost++
				if g-o > c.Champion-c.Older {
					c.Champion, c.Older = g, o
				}
			}
		}
	}
	c.P = exceeds(c.Lost, c.Judged, level)
	c.Found = c.P < alarm
	return c
}

// String puts it in a sentence.
func (c Cycling) String() string {
	switch {
	case c.Judged == 0:
		return "nothing to judge cycling by: no champion beat a series of predecessors and met an older one often enough"
	case c.Lost == 0:
		return fmt.Sprintf("no cycling: none of %d meetings with older champions was lost", c.Judged)
	case !c.Found:
		return fmt.Sprintf("no sure cycling: %d of %d meetings with older champions were lost (chance %.2g)", c.Lost, c.Judged, c.P)
	}
	return fmt.Sprintf("cycling: each champion beat the one before, and yet %d of %d meetings with older ones were lost (chance %.2g); that of generation %d loses to that of %d",
		c.Lost, c.Judged, c.P, c.Champion, c.Older)
}

// Disengagement says whether one side wins nearly everything, so that the other
// has nothing to select by (Watson and Pollack 2001; Cartlidge and Bullock 2004,
// "Combating coevolutionary disengagement by reducing parasite virulence").
type Disengagement struct {
	Found             bool    // the series is five generations or longer
	From, Generations int     // the longest series of lopsided generations, the last of equals
	Rate              float64 // the side's mean score in it, from 0 to 1; 0 without one
}

// FindDisengagement looks through what one side did against the other in each
// generation, all of its matches. A generation is lopsided when the mean score is
// 0.95 or more, or 0.05 or less; one without a match ends the series.
func FindDisengagement(generations []Cell) Disengagement {
	var d Disengagement
	from, was := 0, 0
	var points, games float64
	for g, c := range generations {
		now := 0
		if r := c.Rate(); r >= lopsided {
			now = 1
		} else if r <= 1-lopsided {
			now = -1
		}
		if now == 0 || now != was {
			from, points, games = g, 0, 0
		}
		was = now
		points, games = points+c.Points, games+float64(c.Games)
		if now != 0 && g-from+1 >= d.Generations {
			d = Disengagement{From: from, Generations: g - from + 1, Rate: points / games}
		}
	}
	d.Found = d.Generations >= disengagedFor
	return d
}

// String puts it in a sentence.
func (d Disengagement) String() string {
	if !d.Found {
		return fmt.Sprintf("no disengagement: at most %d generations on end were lopsided, it takes %d", d.Generations, disengagedFor)
	}
	return fmt.Sprintf("disengagement: for %d generations from %d on the side scores %.3g on average, so there is next to nothing to select by", d.Generations, d.From, d.Rate)
}

// Forgotten is an old opponent that today's champion can no longer beat.
type Forgotten struct {
	Generation  int  // of the opponent
	Before, Now Cell // what the champions since did against it, all together, and what today's does
	// P is the chance that this shows where it is not so, times the number of
	// opponents that were judged (Bonferroni).
	P float64
}

// Forgetting says whether an ability was lost on the way.
type Forgetting struct {
	Found     bool
	Judged    int // old opponents with enough decisive matches before and now
	Champion  int // today's generation
	Opponents []Forgotten
}

// FindForgetting compares the last row's champion with those before it, on the
// table that FindCycling takes, against each old opponent: o is forgotten when
// the champions from o on, but today's, together surely beat it, and today's
// surely loses to it. Both are exact one-sided binomial (sign) tests; the larger
// of their two p-values counts, since both must hold (Berger 1982), and is
// multiplied by the number of opponents judged, those with five decisive matches
// on either side. The chance of any false one is at most 5 %.
//
// It shows what today's champion lacks that most of its predecessors had; ask it
// in each generation, since what was lost long ago has become the rule.
func FindForgetting(h Table) Forgetting {
	f := Forgetting{Champion: max(0, len(h)-1)}
	var all []Forgotten
	for o := range f.Champion {
		var before Cell
		for _, row := range h[o:f.Champion] {
			if o < len(row) {
				before.merge(row[o])
			}
		}
		now := h[f.Champion][o]
		if before.decisive() && now.decisive() {
			p := max(beaten(before.Wins, before.Losses), beaten(now.Losses, now.Wins))
			all = append(all, Forgotten{o, before, now, p})
		}
	}
	f.Judged = len(all)
	for _, o := range all {
		o.P = min(1, o.P*float64(f.Judged))
		if o.P < level {
			f.Opponents = append(f.Opponents, o)
		}
	}
	f.Found = len(f.Opponents) > 0
	return f
}

// String puts it in a sentence.
func (f Forgetting) String() string {
	if !f.Found {
		return fmt.Sprintf("no forgetting: of %d old opponents the champion of generation %d surely loses to none that its predecessors beat", f.Judged, f.Champion)
	}
	o := f.Opponents[0]
	return fmt.Sprintf("forgetting: the champion of generation %d loses to %d of %d old opponents that its predecessors beat; against that of %d it scores %.3g, they scored %.3g (chance %.2g)",
		f.Champion, len(f.Opponents), f.Judged, o.Generation, o.Now.Rate(), o.Before.Rate(), o.P)
}
