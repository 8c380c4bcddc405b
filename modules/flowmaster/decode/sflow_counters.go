package decode

// numbers names consecutive fields of 32 bits.
func numbers(names ...string) (fields []sflowField) {
	for _, n := range names {
		fields = append(fields, sflowField{name: n})
	}
	return fields
}

// counterRecords are the counter records of a known layout, by format: those of sflow.org
// ("sFlow Version 5" and "sFlow Host Structures"). Fields are called as in the MIB that the
// structure is made after, or else as in the structure.
var counterRecords = map[uint32][]sflowField{
	1: { // RFC 3635, RFC 2863
		{name: "ifIndex"}, {name: "ifType"}, {name: "ifSpeed", kind: sflowNumber8}, {name: "ifDirection"}, {name: "ifStatus"},
		{name: "ifInOctets", kind: sflowNumber8}, {name: "ifInUcastPkts"}, {name: "ifInMulticastPkts"}, {name: "ifInBroadcastPkts"},
		{name: "ifInDiscards"}, {name: "ifInErrors"}, {name: "ifInUnknownProtos"},
		{name: "ifOutOctets", kind: sflowNumber8}, {name: "ifOutUcastPkts"}, {name: "ifOutMulticastPkts"}, {name: "ifOutBroadcastPkts"},
		{name: "ifOutDiscards"}, {name: "ifOutErrors"}, {name: "ifPromiscuousMode"},
	},
	2: numbers("dot3StatsAlignmentErrors", "dot3StatsFCSErrors", "dot3StatsSingleCollisionFrames", "dot3StatsMultipleCollisionFrames",
		"dot3StatsSQETestErrors", "dot3StatsDeferredTransmissions", "dot3StatsLateCollisions", "dot3StatsExcessiveCollisions",
		"dot3StatsInternalMacTransmitErrors", "dot3StatsCarrierSenseErrors", "dot3StatsFrameTooLongs",
		"dot3StatsInternalMacReceiveErrors", "dot3StatsSymbolErrors"),
	5: {
		{name: "vlanId"}, {name: "octets", kind: sflowNumber8}, {name: "ucastPkts"}, {name: "multicastPkts"}, {name: "broadcastPkts"}, {name: "discards"},
	},
	6: numbers("dot11TransmittedFragmentCount", "dot11MulticastTransmittedFrameCount", "dot11FailedCount", "dot11RetryCount",
		"dot11MultipleRetryCount", "dot11FrameDuplicateCount", "dot11RTSSuccessCount", "dot11RTSFailureCount", "dot11ACKFailureCount",
		"dot11ReceivedFragmentCount", "dot11MulticastReceivedFrameCount", "dot11FCSErrorCount", "dot11TransmittedFrameCount",
		"dot11WEPUndecryptableCount", "dot11QoSDiscardedFragmentCount", "dot11AssociatedStationCount", "dot11QoSCFPollsReceivedCount",
		"dot11QoSCFPollsUnusedCount", "dot11QoSCFPollsUnusableCount", "dot11QoSCFPollsLostCount"),
	7: append([]sflowField{
		{name: "dot3adAggPortActorSystemID", kind: sflowMAC}, {name: "dot3adAggPortPartnerOperSystemID", kind: sflowMAC},
		{name: "dot3adAggPortAttachedAggID"}, {name: "dot3adAggPortState", kind: sflowOctets4}, // actor's, partner's, each as administered and as operated
	}, numbers("dot3adAggPortStatsLACPDUsRx", "dot3adAggPortStatsMarkerPDUsRx", "dot3adAggPortStatsMarkerResponsePDUsRx",
		"dot3adAggPortStatsUnknownRx", "dot3adAggPortStatsIllegalRx", "dot3adAggPortStatsLACPDUsTx", "dot3adAggPortStatsMarkerPDUsTx",
		"dot3adAggPortStatsMarkerResponsePDUsTx")...),
	1001: {
		{name: "cpu5s"}, {name: "cpu1m"}, {name: "cpu5m"}, // in hundredths of a percent
		{name: "totalMemory", kind: sflowNumber8}, {name: "freeMemory", kind: sflowNumber8},
	},
	1002: numbers("elapsedTime", "onChannelTime", "onChannelBusyTime"),
	2000: {
		{name: "hostname", kind: sflowText}, {name: "uuid", kind: sflowOctets16}, {name: "machineType"}, {name: "osName"}, {name: "osRelease", kind: sflowText},
	},
	2003: append([]sflowField{
		{name: "loadOne", kind: sflowFloat}, {name: "loadFive", kind: sflowFloat}, {name: "loadFifteen", kind: sflowFloat},
	}, numbers("procRun", "procTotal", "cpuNum", "cpuSpeed", "uptime", "cpuUser", "cpuNice", "cpuSystem", "cpuIdle", "cpuWio", "cpuIntr",
		"cpuSintr", "interrupts", "contexts", "cpuSteal", "cpuGuest", "cpuGuestNice")...),
	2004: {
		{name: "memTotal", kind: sflowNumber8}, {name: "memFree", kind: sflowNumber8}, {name: "memShared", kind: sflowNumber8},
		{name: "memBuffers", kind: sflowNumber8}, {name: "memCached", kind: sflowNumber8}, {name: "swapTotal", kind: sflowNumber8},
		{name: "swapFree", kind: sflowNumber8}, {name: "pageIn"}, {name: "pageOut"}, {name: "swapIn"}, {name: "swapOut"},
	},
	2005: {
		{name: "diskTotal", kind: sflowNumber8}, {name: "diskFree", kind: sflowNumber8}, {name: "partMaxUsed"}, {name: "reads"},
		{name: "bytesRead", kind: sflowNumber8}, {name: "readTime"}, {name: "writes"}, {name: "bytesWritten", kind: sflowNumber8}, {name: "writeTime"},
	},
	2006: {
		{name: "bytesIn", kind: sflowNumber8}, {name: "pktsIn"}, {name: "errsIn"}, {name: "dropsIn"},
		{name: "bytesOut", kind: sflowNumber8}, {name: "pktsOut"}, {name: "errsOut"}, {name: "dropsOut"},
	},
	2007: numbers("ipForwarding", "ipDefaultTTL", "ipInReceives", "ipInHdrErrors", "ipInAddrErrors", "ipForwDatagrams", "ipInUnknownProtos",
		"ipInDiscards", "ipInDelivers", "ipOutRequests", "ipOutDiscards", "ipOutNoRoutes", "ipReasmTimeout", "ipReasmReqds", "ipReasmOKs",
		"ipReasmFails", "ipFragOKs", "ipFragFails", "ipFragCreates"),
	2009: numbers("tcpRtoAlgorithm", "tcpRtoMin", "tcpRtoMax", "tcpMaxConn", "tcpActiveOpens", "tcpPassiveOpens", "tcpAttemptFails",
		"tcpEstabResets", "tcpCurrEstab", "tcpInSegs", "tcpOutSegs", "tcpRetransSegs", "tcpInErrs", "tcpOutRsts", "tcpInCsumErrs"),
	2010: numbers("udpInDatagrams", "udpNoPorts", "udpInErrors", "udpOutDatagrams", "udpRcvbufErrors", "udpSndbufErrors", "udpInCsumErrors"),
}
