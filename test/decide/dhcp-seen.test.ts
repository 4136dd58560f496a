import t from 'tap'
import { seenAnswer, seenClient } from '../../src/decide/dhcp-seen.ts'
import { encodeDhcp } from '../../src/wire/dhcp.ts'
import { aPacket, aRequest, recordedBytes } from '../support/dhcp.ts'

t.test('what a packet says of its sender', async (t) => {
  const decision = 'offer 192.0.2.100, no boot file (the machine is active)'
  const seen = (bytes: Buffer) => seenClient(aPacket({ at: 5, bytes, decision }))
  t.same(seen(recordedBytes('ovmf-http-request')), {
    mac: '52:54:00:5e:ed:03',
    lastAt: 5,
    type: 'request',
    client: 'http-uefi',
    architecture: 'x64 UEFI HTTP',
    vendorClass: 'HTTPClient:Arch:00016:UNDI:003000',
    relay: null,
    requested: [
      1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 235, 67, 97
    ],
    server: '192.0.2.1',
    decision
  })
  t.match(seen(recordedBytes('dhclient-discover')), {
    client: 'system',
    architecture: 'no architecture',
    vendorClass: '',
    server: null
  })
  const relayed = aRequest({
    giaddr: '198.51.100.254',
    options: { vendorClass: 'a\u001b[2Jb', messageType: 'inform' }
  })
  t.match(seen(encodeDhcp(relayed)), { relay: '198.51.100.254', vendorClass: 'a?[2Jb', requested: [] })
  t.match(seen(encodeDhcp(aRequest({ options: {} }))), { type: null })
})

t.test('what is no request that can be read is of nobody', async (t) => {
  t.equal(seenClient(aPacket()), null)
  t.equal(seenClient(aPacket({ bytes: encodeDhcp({ ...aRequest(), op: 'reply' }) })), null)
})

t.test('what a server told a client', async (t) => {
  const offer = aRequest({
    op: 'reply',
    yiaddr: '192.0.2.77',
    siaddr: '192.0.2.5',
    file: 'pxelinux.0',
    options: {
      messageType: 'offer',
      serverId: '192.0.2.5',
      subnetMask: '255.255.255.0',
      routers: ['192.0.2.254'],
      dnsServers: ['192.0.2.53'],
      domainName: 'example.org',
      leaseSeconds: 600
    }
  })
  const told = {
    type: 'offer',
    mac: '52:54:00:00:00:01',
    ip: '192.0.2.77',
    relay: null,
    subnetMask: '255.255.255.0',
    routers: ['192.0.2.254'],
    dns: ['192.0.2.53'],
    domain: 'example.org',
    leaseSeconds: 600,
    nextServer: '192.0.2.5',
    bootFile: 'pxelinux.0'
  }
  t.same(seenAnswer(offer), told)
  const named = { ...offer, options: { ...offer.options, bootFileName: 'http://192.0.2.5/\u0007' } }
  t.equal(seenAnswer(named).bootFile, 'http://192.0.2.5/?', 'option 67 before the field')
  t.match(seenAnswer(aRequest({ op: 'reply', giaddr: '198.51.100.254', options: {} })), {
    type: null,
    ip: null,
    relay: '198.51.100.254',
    routers: [],
    nextServer: null,
    bootFile: null
  })
})
