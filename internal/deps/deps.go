// Package deps holds versions of modules that are about to be used; it goes when they are.
package deps

import (
	_ "github.com/DataDog/sketches-go/ddsketch"
	_ "github.com/gaissmai/bart"
	_ "github.com/oschwald/maxminddb-golang/v2"
	_ "github.com/prometheus/procfs"
	_ "github.com/prometheus/prometheus/tsdb/agent"
	_ "github.com/vishvananda/netlink"
)
