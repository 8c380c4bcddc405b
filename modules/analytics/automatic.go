package analytics

import (
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Automatic pipelines, made by themselves when what they are about is there.
const (
	pipelineBalancer = "balancer"
	pipelineNetwork  = "network"
	pipelineHTTP     = "http"
	pipelineCross    = "cross"
)

var automaticNames = []string{pipelineBalancer, pipelineNetwork, pipelineHTTP, pipelineCross}

// automaticPipelines returns those that apply, in the order in which their signals are
// given places in the windows.
func (a *App) automaticPipelines(present func(name string) bool) []*Pipeline {
	if a.NoRegistry && !slices.ContainsFunc(a.Pipelines, func(p *Pipeline) bool {
		return slices.Contains(automaticNames, p.Name) && p.Source != ""
	}) {
		return nil
	}
	var all []*Pipeline
	add := func(name string, signals []Signal, joins ...string) {
		all = append(all, &Pipeline{Name: name, Signals: slices.Clone(signals), automatic: true, joins: joins})
	}
	balancer, network := present(pipelineBalancer), present(pipelineNetwork)
	if balancer {
		add(pipelineBalancer, balancerSignals)
	}
	if network {
		add(pipelineNetwork, networkSignals)
	}
	if present(pipelineHTTP) {
		add(pipelineHTTP, httpSignals)
	}
	if balancer && network {
		add(pipelineCross, crossSignals, pipelineBalancer, pipelineNetwork)
	}
	return all
}

// present reports whether what an automatic pipeline is about is in this configuration.
// It is asked in Start, when all apps have been provisioned.
func (a *App) present(name string) bool {
	app := map[string]string{pipelineBalancer: "lbpro", pipelineNetwork: "flowmaster", pipelineHTTP: "http"}[name]
	found, err := a.ctx.AppIfConfigured(app)
	if err != nil {
		return false
	}
	if server, ok := found.(*caddyhttp.App); ok {
		return server.Metrics != nil
	}
	return true
}
