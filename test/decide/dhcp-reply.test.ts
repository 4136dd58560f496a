import t from 'tap'
import { withinStored } from '../../src/decide/dhcp-reply.ts'
import { aLease, NOW } from '../support/builders.ts'
import { aRequest } from '../support/dhcp.ts'

const lease = aLease({ expiresAt: NOW + 1800_000 })
const ack = {
  ...aRequest({
    options: { messageType: 'ack', leaseSeconds: 3600, renewSeconds: 1800, rebindSeconds: 3150 }
  }),
  op: 'reply' as const,
  chaddr: lease.mac,
  yiaddr: lease.ip
}

t.test('when nothing can be stored, a lease lasts as long as it is on disk, and no longer', async (t) => {
  t.match(withinStored(ack, lease, NOW)?.options, {
    leaseSeconds: 1800,
    renewSeconds: 900,
    rebindSeconds: 1575
  })
  t.match(
    withinStored(ack, aLease({ expiresAt: NOW + 9e9 }), NOW)?.options,
    { leaseSeconds: 3600 },
    'nor longer than usual'
  )
  t.equal(withinStored(ack, aLease({ expiresAt: NOW + 59_000 }), NOW), null, 'too little is left')
  t.equal(withinStored(ack, null, NOW), null, 'there is none')
  t.equal(withinStored({ ...ack, chaddr: '52:54:00:00:00:99' }, lease, NOW), null, "another's")
  t.equal(
    withinStored(ack, aLease({ state: 'released', expiresAt: NOW + 1800_000 }), NOW),
    null,
    'given back'
  )
  const other = (messageType: 'offer' | 'nak') => ({ ...ack, options: { ...ack.options, messageType } })
  t.match(
    withinStored(other('offer'), lease, NOW)?.options,
    { leaseSeconds: 1800 },
    'a machine that has one may start'
  )
  t.equal(withinStored(other('offer'), null, NOW), null, 'nothing is offered that cannot be promised')
  t.equal(withinStored(other('nak'), lease, NOW), null)
})
