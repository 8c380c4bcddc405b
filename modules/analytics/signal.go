package analytics

// Direction says which way of a signal is good for the people who are served.
type Direction string

const (
	// Up is good: health, throughput.
	Up Direction = "up"
	// Down is good: latency, errors.
	Down Direction = "down"
	// Neither is good by itself: load, shares.
	Neither Direction = ""
)

// Signal is a named PromQL expression. It evaluates to a vector; each element of that is
// one series.
type Signal struct {
	// Name is unique in its pipeline: letters, digits and underscores.
	Name string `json:"name"`
	// PromQL. `$__rate_interval` stands for a window that is always wide enough for rates
	// (at least four collections), `$__interval` for the time between two collections.
	Expr string `json:"expr"`
	// Unit of the values, in the words of Prometheus: seconds, bytes, ratio, ...
	Unit string `json:"unit,omitempty"`
	// Good is the good direction: "up", "down" or empty.
	Good Direction `json:"good,omitempty"`
	// Help says in a sentence what it is.
	Help string `json:"help,omitempty"`

	// Pipeline is the pipeline that the signal belongs to. Filled in.
	Pipeline string `json:"-"`
	// By are the labels that tell its series apart, where that is known. Filled in.
	By []string `json:"-"`
}

// SeriesInfo tells what one series of a frame is. Infos stand in the order of the
// frame's signals.
type SeriesInfo struct {
	Name     string            `json:"name"` // pipeline:signal{label="v",...}
	Pipeline string            `json:"pipeline"`
	Signal   string            `json:"signal"`
	Labels   map[string]string `json:"labels,omitempty"`
	Unit     string            `json:"unit,omitempty"`
	Good     Direction         `json:"good,omitempty"`
}
