package analytics

// What Grafana asks every Prometheus for, and there is none of here. An error would be
// shown to whoever opens a panel; that there are none is the truth.

// serveRules says that there are no rules.
func serveRules(c *call) error {
	return c.writeProm(struct {
		Groups []struct{} `json:"groups"`
	}{[]struct{}{}}, nil, "")
}

// serveExemplars says that there are no exemplars for an expression that is one.
func serveExemplars(c *call) error {
	if _, _, err := c.expression(); err != nil {
		return err
	}
	return c.writeProm([]struct{}{}, nil, "")
}
