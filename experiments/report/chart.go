package report

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// line is a series of a chart by generation. A NaN is a gap.
type line struct {
	Name string
	ys   []float64
}

// chart is a drawing by generation, with its words. None of them is text from outside.
type chart struct {
	Title, Text string
	y           string // what the vertical axis shows
	xs          []float64
	lines       []line
	low, high   []float64 // a band, or nil; gaps in both alike
	floor       bool      // whether the axis begins at 0
	SVG         template.HTML
	Legend      []key
}

// key is an entry of a legend.
type key struct{ Class, Name string }

// The size fits a narrow screen with readable labels: 330 px show it at about its size.
const (
	chartWidth  = 360
	chartHeight = 230
	chartPoints = 200 // of a line; more cannot be told apart
)

// The plots are drawn in colours that stand for the page's own, so that they follow a
// light or a dark page.
var (
	ink    = color.NRGBA{1, 1, 1, 255}
	faint  = color.NRGBA{2, 2, 2, 255}
	tint   = color.NRGBA{3, 3, 3, 255}
	marked = regexp.MustCompile(`#(010101|020202|030303|10000[0-9])`)
	fonts  = regexp.MustCompile(`font-family:[^"]*?font-style:[a-z]*;`)
	head   = regexp.MustCompile(`(?s)^.*?<svg[^>]*>`)
)

// seriesColors is how many colours the page has; dashes tell the rest apart.
const seriesColors = 4

func series(i int) color.NRGBA { return color.NRGBA{0x10, 0, uint8(i % seriesColors), 255} }

func themed(svg []byte) []byte {
	svg = marked.ReplaceAllFunc(svg, func(c []byte) []byte {
		switch string(c) {
		case "#010101":
			return []byte("var(--ink)")
		case "#020202":
			return []byte("var(--faint)")
		case "#030303":
			return []byte("var(--tint)")
		}
		return fmt.Appendf(nil, "var(--c%c)", c[len(c)-1])
	})
	return fonts.ReplaceAll(svg, nil)
}

// draw makes the chart's SVG and legend.
func (c *chart) draw() error {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Label.Text, p.Y.Label.Text = "generation", c.y
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color, axis.Tick.Color, axis.Tick.Label.Color, axis.Label.TextStyle.Color = faint, faint, ink, ink
		axis.Label.TextStyle.Font.Variant, axis.Tick.Label.Font.Variant = "Sans", "Sans"
		axis.Label.TextStyle.Font.Size, axis.Tick.Label.Font.Size = 12, 11
	}
	p.X.Tick.Marker = plot.TickerFunc(wholeTicks)
	low, high := c.span()
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color, grid.Horizontal.Width = faint, 0.4
	p.Add(grid)
	if c.low != nil {
		if err := c.addBand(p, low, high); err != nil {
			return err
		}
	}
	for i, l := range c.lines {
		if err := c.addLine(p, i, l, low, high); err != nil {
			return err
		}
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = c.xs[0], max(c.xs[len(c.xs)-1], c.xs[0]+1), low, high
	canvas := vgsvg.New(chartWidth, chartHeight)
	p.Draw(draw.Crop(draw.New(canvas), 2, -12, 2, -6))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	title, text := template.HTMLEscapeString(c.Title), template.HTMLEscapeString(c.Text)
	c.SVG = template.HTML(fmt.Sprintf(`<svg role="img" aria-label="%s" viewBox="0 0 %d %d" xmlns="http://www.w3.org/2000/svg"><title>%s</title><desc>%s</desc>`,
		title, chartWidth, chartHeight, title, text) + string(head.ReplaceAll(themed(b.Bytes()), nil)))
	return nil
}

func (c *chart) addLine(p *plot.Plot, i int, l line, low, high float64) error {
	class := fmt.Sprintf("c%d", i%seriesColors)
	var dashes []vg.Length
	if i/seriesColors%2 == 1 {
		class, dashes = class+" dashed", []vg.Length{4, 2}
	}
	c.Legend = append(c.Legend, key{class, l.Name})
	for _, run := range runs(c.xs, l.ys) {
		drawn, err := plotter.NewLine(clamped(thinned(run, chartPoints), low, high))
		if err != nil {
			return err
		}
		drawn.Color, drawn.Width, drawn.Dashes = series(i), 1.6, dashes
		p.Add(drawn)
		if len(run) == 1 { // a line of one point cannot be seen
			dot, err := plotter.NewScatter(clamped(run, low, high))
			if err != nil {
				return err
			}
			dot.Color, dot.Shape, dot.Radius = series(i), draw.CircleGlyph{}, 2
			p.Add(dot)
		}
	}
	return nil
}

func (c *chart) addBand(p *plot.Plot, low, high float64) error {
	uppers := runs(c.xs, c.high)
	for i, lower := range runs(c.xs, c.low) {
		ring := append(thinned(lower, chartPoints), reversed(thinned(uppers[i], chartPoints))...)
		band, err := plotter.NewPolygon(clamped(ring, low, high))
		if err != nil {
			return err
		}
		band.Color, band.LineStyle.Width = tint, 0
		p.Add(band)
	}
	c.Legend = append(c.Legend, key{"band", "middle half"})
	return nil
}

// span is the range of the vertical axis: all of the lines, but of a band, and of a line
// far above the rest, no more than nine in ten show. What is above runs along the edge.
func (c *chart) span() (low, high float64) {
	var all []float64
	for _, ys := range append([][]float64{c.low, c.high}, values(c.lines)...) {
		for _, y := range ys {
			if !math.IsNaN(y) {
				all = append(all, min(max(y, -1e100), 1e100)) // so that a difference is finite
			}
		}
	}
	if len(all) == 0 {
		return 0, 1
	}
	slices.Sort(all)
	low, high = all[0], all[len(all)-1]
	if usual := all[len(all)*9/10]; !c.floor && high-low > 3*(usual-low) && usual > low {
		high = usual
		c.Text += fmt.Sprintf(" The axis ends at %.3g; what is above runs along its edge.", high)
	}
	if c.floor {
		low = min(low, 0)
	}
	edge := 0.04 * (high - low)
	if edge == 0 {
		edge = max(0.1*math.Abs(high), 1e-9)
	}
	if c.floor {
		return low, high + edge
	}
	return low - edge, high + edge
}

func values(lines []line) (all [][]float64) {
	for _, l := range lines {
		all = append(all, l.ys)
	}
	return all
}

// runs are the stretches of a series without a gap.
func runs(xs, ys []float64) (all []plotter.XYs) {
	var run plotter.XYs
	for i, y := range ys {
		if math.IsNaN(y) {
			if len(run) > 0 {
				all = append(all, run)
			}
			run = nil
			continue
		}
		run = append(run, plotter.XY{X: xs[i], Y: y})
	}
	if len(run) > 0 {
		all = append(all, run)
	}
	return all
}

// thinned keeps the least and the greatest of each of most/2 stretches, so that no peak
// is lost.
func thinned(points plotter.XYs, most int) plotter.XYs {
	if len(points) <= most {
		return slices.Clone(points)
	}
	var kept plotter.XYs
	stretches := most / 2
	for i := range stretches {
		part := points[i*len(points)/stretches : (i+1)*len(points)/stretches]
		least, greatest := 0, 0
		for k, p := range part {
			if p.Y < part[least].Y {
				least = k
			}
			if p.Y > part[greatest].Y {
				greatest = k
			}
		}
		for _, k := range slices.Compact([]int{min(least, greatest), max(least, greatest)}) {
			kept = append(kept, part[k])
		}
	}
	return kept
}

func clamped(points plotter.XYs, low, high float64) plotter.XYs {
	for i := range points {
		points[i].Y = min(max(points[i].Y, low), high)
	}
	return points
}

func reversed(points plotter.XYs) plotter.XYs {
	slices.Reverse(points)
	return points
}

// wholeTicks are the usual ones without fractions: there is no generation 1.5.
func wholeTicks(low, high float64) (ticks []plot.Tick) {
	for _, t := range (plot.DefaultTicks{}).Ticks(low, high) {
		if t.Value == math.Trunc(t.Value) && !strings.Contains(t.Label, "e") {
			ticks = append(ticks, t)
		}
	}
	return ticks
}
