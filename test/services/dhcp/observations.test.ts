import t from 'tap'
import { createObservations } from '../../../services/dhcp/observations.ts'
import { createPacketRing } from '../../../services/dhcp/packet-ring.ts'
import { encodeDhcp } from '../../../src/wire/dhcp.ts'
import { aPacket, aRequest } from '../../support/dhcp.ts'

const offer = (given: object = {}) =>
  aRequest({ op: 'reply', yiaddr: '192.0.2.77', options: { messageType: 'offer', ...given } })

t.test('clients are those whose packets are kept, as of the last that came', async (t) => {
  const ring = createPacketRing()
  const seen = createObservations({ ring, now: () => 0 })
  t.same(seen.clients(10), [])
  const ask = (at: number, chaddr: string, type: 'discover' | 'request', enrolled: boolean) =>
    ring.note({
      ...aPacket({ at, bytes: encodeDhcp(aRequest({ chaddr, options: { messageType: type } })) }),
      mac: chaddr,
      enrolled,
      decision: `decided at ${at}`
    })
  ask(1, '52:54:00:00:00:01', 'discover', true)
  ask(2, '52:54:00:00:00:02', 'discover', false)
  ask(3, '52:54:00:00:00:01', 'request', true)
  ring.note({ ...aPacket({ at: 4, direction: 'out' }), mac: '52:54:00:00:00:01', enrolled: true })
  ring.note({ ...aPacket({ at: 5 }), mac: '52:54:00:00:00:03', enrolled: false })
  t.match(seen.clients(10), [
    { mac: '52:54:00:00:00:01', lastAt: 3, type: 'request', decision: 'decided at 3' },
    { mac: '52:54:00:00:00:02', lastAt: 2, type: 'discover' }
  ])
  t.equal(seen.clients(2).length, 1, 'of the last two that spoke, one cannot be read')
})

t.test('of each server its last answer, under the id that it gives itself', async (t) => {
  let at = 1
  const seen = createObservations({ ring: createPacketRing(), now: () => at++ })
  seen.answered(offer({ serverId: '192.0.2.5' }), '192.0.2.5')
  seen.answered(offer(), '192.0.2.6')
  seen.answered(offer({ serverId: '192.0.2.5', messageType: 'ack' }), '192.0.2.7')
  t.match(seen.servers(), [
    { address: '192.0.2.5', firstAt: 1, lastAt: 3, answers: 2, answer: { type: 'ack', ip: '192.0.2.77' } },
    { address: '192.0.2.6', firstAt: 2, lastAt: 2, answers: 1, answer: { type: 'offer' } }
  ])
})

t.test('a flood of forged answers leaves the last 64 servers', async (t) => {
  const seen = createObservations({ ring: createPacketRing(), now: () => 1 })
  for (let n = 0; n < 1000; n++) seen.answered(offer(), `198.51.${n >> 8}.${n & 255}`)
  t.equal(seen.servers().length, 64)
  t.equal(seen.servers()[0]?.address, '198.51.3.231')
})
