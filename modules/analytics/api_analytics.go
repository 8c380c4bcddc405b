package analytics

func analyticsResources() []*resource {
	return []*resource{
		{path: "analytics/status", serve: serveStatus, about: "The state of the engine, its start, pipelines and store."},
	}
}

func serveStatus(c *call) error {
	e, err := runningEngine()
	if err != nil {
		return err
	}
	_, report := e.Status()
	return c.writeJSON(report)
}
