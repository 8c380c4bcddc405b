package decode

import (
	"encoding/json"
	"testing"
)

// visitAll decodes files in order as one exporter and returns each record as
// the JSON object it is shown as.
func visitAll(t *testing.T, files ...string) []map[string]any {
	t.Helper()
	d := NewDecoder(NewStore(Limits{}))
	var records []map[string]any
	for _, file := range files {
		_, err := d.Visit(packet(fixture(t, file)), func(r *DataRecord) {
			var m map[string]any
			if err := json.Unmarshal(r.AppendJSON(nil), &m); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			records = append(records, m)
		})
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return records
}

// TestFixtureValues holds fields of records to values read off the octets.
func TestFixtureValues(t *testing.T) {
	type want map[string]any
	for _, c := range []struct {
		name   string
		files  []string
		record int
		want   want
	}{
		{"v5 softflowd", []string{"netflow5.dat"}, 1, want{
			"source": "netflow5", "sourceIPv4Address": "10.0.2.15", "destinationIPv4Address": "10.0.2.2",
			"sourceTransportPort": 22., "destinationTransportPort": 54435., "octetDeltaCount": 304., "packetDeltaCount": 4.,
			"tcpControlBits": 24., "protocolIdentifier": 6., "flowEndSysUpTime": 2577., "sysUpTime": 3381., "engineType": 0., "samplingInterval": 0., "exportTime": "2015-05-02T18:38:08.28Z",
		}},
		{"v5 MikroTik", []string{"netflow5_test_microtik.dat"}, 5, want{
			"sourceIPv4Address": "10.0.11.1", "destinationIPv4Address": "192.168.0.34", "ipNextHopIPv4Address": "192.168.0.34",
			"ingressInterface": 13., "egressInterface": 39., "octetDeltaCount": 180., "protocolIdentifier": 17.,
			"sourceTransportPort": 40026., "destinationTransportPort": 27391., "sequenceNumber": 8140050.,
		}},
		{"v9 Cisco ACI", []string{"netflow9_test_cisco_aci_tpl256-258.dat", "netflow9_test_cisco_aci_data256.dat"}, 0, want{
			"source": "netflow9", "templateId": 256., "observationDomainId": 1., "sourceIPv4Address": "10.154.231.145",
			"sourceTransportPort": 179., "ingressInterface": 369139712., "ipVersion": 4., "flowDirection": 0.,
		}},
		{"v9 nProbe options", []string{"netflow9_test_nprobe_tpl.dat"}, 0, want{
			"options": true, "observationDomainId": 147., "exportedFlowRecordTotalCount": 1., "exportedMessageTotalCount": 0.,
		}},
		{"v9 softflowd IPv6", []string{"netflow9_test_softflowd_tpl_data.dat"}, 6, want{
			"sourceIPv6Address": "fe80::20c:29ff:fe83:3b6e", "destinationIPv6Address": "ff02::1", "octetDeltaCount": 672.,
			"packetDeltaCount": 7., "sourceTransportPort": 0., "destinationTransportPort": 34304., "protocolIdentifier": 58.,
		}},
		{"v9 Cisco ASA", []string{"netflow9_test_cisco_asa_2_tpl_26x.dat", "netflow9_test_cisco_asa_2_tpl_27x.dat", "netflow9_test_cisco_asa_2_data.dat"}, 0, want{
			"flowId": 742819709., "initiatorOctets": 81., "responderOctets": 763., "firewallEvent": 2.,
			"firewallExtendedEvent": 2030., "postNATDestinationIPv4Address": "192.168.0.17",
			"observationTimeMilliseconds": "2016-07-21T13:50:33.015Z", "flowStartMilliseconds": "2016-07-21T13:50:32.955Z",
		}},
		{"v9 ipt_NETFLOW", []string{"netflow9_test_iptnetflow_reduced_size_encoding_tpldata260.dat"}, 2, want{
			"ingressInterface": 8., "egressInterface": 7., "octetDeltaCount": 584., "packetDeltaCount": 11.,
			"destinationMacAddress": "00:1b:21:bc:24:dc", "sourceMacAddress": "00:04:96:97:b8:cd", "ethernetType": 2048.,
		}},
		{"v9 seconds", []string{"netflow9_test_unknown_tpl266_292_data.dat"}, 1, want{
			"templateId": 292., "flowStartSeconds": "2017-12-01T17:04:29Z", "flowEndSeconds": "2017-12-01T17:04:29Z",
			"egressInterface": 13., "flowDirection": 1., "samplerId": 1., "octetDeltaCount": 232.,
		}},
		{"v9 H3C, a field of variable length", []string{"netflow9_test_h3c_netstream_varstring_tpl3281.dat", "netflow9_test_h3c_netstream_varstring_data3281.dat"}, 0, want{
			"sourceIPv4Address": "20.20.20.20", "destinationIPv4Address": "20.20.255.255", "packetDeltaCount": 9., "octetDeltaCount": 702.,
			"sourceIPv4PrefixLength": 32., "VRFname": "", "0": "0x00", "dstTrafficIndex": 4294967295.,
		}},
		{"v9 Juniper SRX, empty scope", []string{"netflow9_test_juniper_srx_tplopt.dat"}, 0, want{
			"options": true, "samplingAlgorithm": 2., "samplingInterval": 1., "scopeSystem": nil,
		}},
		{"v9 ASR 9000 interfaces", []string{"netflow9_test_cisco_asr9k_opttpl256.dat", "netflow9_test_cisco_asr9k_data256.dat"}, 1, want{
			"options": true, "observationDomainId": 2177., "ingressInterface": 75., "interfaceDescription": "TenGigE0_0_1_1",
		}},
		{"v9 NBAR", []string{"netflow9_test_cisco_nbar_opttpl260.dat"}, 1, want{
			"options": true, "applicationId": "0x0100002f", "applicationName": "gre", "applicationDescription": "General Routing Encapsulation",
		}},
		{"v9 WLC", []string{"netflow9_test_cisco_wlc_tpl.dat", "netflow9_test_cisco_wlc_data261.dat"}, 1, want{
			"staMacAddress": "34:02:86:75:c0:51", "staIPv4Address": "192.168.20.121", "wlanSSID": "Test-env", "flowDirection": 1.,
			"octetDeltaCount": 3320., "wtpMacAddress": "00:f6:63:cc:80:60",
		}},
		{"v9 Streamcore", []string{"netflow9_test_streamcore_tpl_data256.dat"}, 0, want{
			"sourceIPv4Address": "100.78.40.201", "octetDeltaCount": 128., "tcpControlBits": 19., "8384": "0x00000493",
		}},
		{"IPFIX Ixia", []string{"ipfix_test_ixia_tpldata256.dat"}, 0, want{
			"source": "ipfix", "sourceIPv4Address": "119.103.128.175", "bgpSourceAsNumber": 4134., "sourceIpLatitude": 30.5801,
			"destinationAsName": "UNISAINS-AS-AP Universiti Sains Malaysia (USM), MY", "reverseIcmpTypeCodeIPv4": 0.,
			"flowStartMilliseconds": "2018-10-25T12:24:19.882Z",
		}},
		{"IPFIX Nokia", []string{"ipfix_test_nokia_bras_tpl.dat", "ipfix_test_nokia_bras_data256.dat"}, 0, want{
			"flowId": 3389049088., "sourceTransportPort": 5878., "destinationTransportPort": 80., "aluInsideServiceId": 100.,
			"aluNatSubString": "USER1@10.10.0.123",
		}},
		{"IPFIX Barracuda", []string{"ipfix_test_barracuda_extended_uniflow_tpl256.dat", "ipfix_test_barracuda_extended_uniflow_data256.dat"}, 1, want{
			"sourceIPv4Address": "64.235.151.76", "sourceTransportPort": 443., "barracudaFirewallRule": "MTH:MTH-MC-to-Inet",
			"barracudaServiceName": "https", "barracudaReasonText": "Normal Operation", "barracudaTimestamp": "2018-04-18T08:16:47Z",
		}},
		{"IPFIX NetScaler", []string{"ipfix_test_netscaler_tpl.dat", "ipfix_test_netscaler_data.dat"}, 2, want{
			"netscalerHttpReqMethod": "GET", "netscalerHttpReqHost": "www.kobo.com", "netscalerTransactionId": 1068114985.,
			"netscalerHttpReqUserAgent": "Mozilla/5.0 (Commodore 64;  kobo.com) Gecko/20100101 Firefox/75.0",
		}},
		{"IPFIX Viptela", []string{"ipfix_test_viptela_tpl257.dat", "ipfix_test_viptela_data257.dat"}, 0, want{
			"viptelaVpnId": 100., "octetTotalCount": 775., "packetDeltaCount": 8., "flowEndReason": 3., "ipPrecedence": 1.,
		}},
		{"IPFIX YAF, both directions and a list", []string{"ipfix_test_yaf_tpls_option_tpl.dat", "ipfix_test_yaf_tpl45841.dat", "ipfix_test_yaf_data45841.dat", "ipfix_test_yaf_data45873.dat"}, 1, want{
			"octetTotalCount": 172., "reverseOctetTotalCount": 92., "initialTCPFlags": 194., "reverseUnionTCPFlags": 17.,
			"subTemplateMultiList": []any{map[string]any{"sourceMacAddress": "00:0c:29:8d:af:c3", "destinationMacAddress": "00:0c:29:a8:6e:2f"}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			records := visitAll(t, c.files...)
			if c.record >= len(records) {
				t.Fatalf("only %d records", len(records))
			}
			got := records[c.record]
			for name, want := range c.want {
				value, ok := got[name]
				if !ok {
					t.Errorf("no field %s", name)
				} else if g, w := mustJSON(t, value), mustJSON(t, want); g != w {
					t.Errorf("%s is %s, want %s", name, g, w)
				}
			}
		})
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
