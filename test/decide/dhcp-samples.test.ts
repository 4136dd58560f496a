import t from 'tap'
import { SAMPLE_KINDS, sampleRequest, sampleWords } from '../../src/decide/dhcp-samples.ts'
import { firmwareOf } from '../../src/decide/firmware.ts'
import { decodeDhcp, encodeDhcp, type DhcpMessage } from '../../src/wire/dhcp.ts'
import { recorded } from '../support/dhcp.ts'

const MAC = '52:54:00:dc:00:03'

t.test('each sample is taken for what it stands for, and can be sent', async (t) => {
  for (const kind of SAMPLE_KINDS) {
    const request = sampleRequest(kind, MAC, null)
    t.equal(firmwareOf(request).firmware.name, kind)
    t.same(decodeDhcp(encodeDhcp(request, 1500)), request, sampleWords(kind))
  }
  t.equal(new Set(SAMPLE_KINDS.map((kind) => sampleRequest(kind, MAC, null).xid)).size, SAMPLE_KINDS.length)
})

t.test('those of which we have a recording ask as the real client did', async (t) => {
  for (const [kind, name] of [
    ['pxe-uefi', 'ovmf-pxe-discover'],
    ['http-uefi', 'ovmf-http-discover'],
    ['ipxe', 'ipxe-uefi-discover'],
    ['system', 'dhclient-discover']
  ] as const) {
    const real = recorded(name)
    const sample = sampleRequest(kind, real.chaddr, null)
    const unlike = ['clientMachineId', 'clientId', 'hostName', 'ipxe']
    const alike = ({ options }: DhcpMessage) =>
      Object.fromEntries(Object.entries(options).filter(([name]) => !unlike.includes(name)))
    t.same({ ...sample, xid: 0, options: alike(sample) }, { ...real, xid: 0, secs: 0, options: alike(real) })
    t.equal(sample.options.ipxe === undefined, real.options.ipxe === undefined)
  }
  const can = firmwareOf(sampleRequest('ipxe', MAC, null)).client.ipxe
  t.same(can, { version: '2.0.0', features: ['http', 'tftp', 'efi'] })
  const really = firmwareOf(recorded('ipxe-uefi-discover')).client.ipxe
  for (const feature of can?.features ?? []) t.ok(really?.features.includes(feature), feature)
})

t.test('a relay leaves its address', async (t) => {
  t.match(sampleRequest('system', MAC, '198.51.100.254'), { giaddr: '198.51.100.254', hops: 1, chaddr: MAC })
  t.match(sampleRequest('system', MAC, null), { giaddr: '0.0.0.0', hops: 0 })
})
