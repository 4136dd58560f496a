import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  concernsWatch,
  seedlingOf,
  startWatch,
  stepWatch,
  twinAnswer,
  watchStatus,
  WATCH_TIMES,
  type DhcpServer,
  type Watch,
  type WatchInput,
  type WatchSettings,
  type WatchStep
} from '../../src/decide/dhcp-watch.ts'
import { decodeDhcp, encodeDhcp, type DhcpMessage } from '../../src/wire/dhcp.ts'
import type { DhcpOptions } from '../../src/wire/dhcp-options.ts'
import { aRequest, recorded } from '../support/dhcp.ts'

const OURS = { address: '192.0.2.1', mac: '52:54:00:00:05:00' }
/** Twins below and above us. */
const LOW = { address: '192.0.2.2', mac: '52:54:00:00:01:00' }
const HIGH = { address: '192.0.2.3', mac: '52:54:00:00:09:00' }
const SETTINGS: WatchSettings = {
  ...OURS,
  mark: null,
  tolerate: ['192.0.2.66'],
  quiet: false,
  times: WATCH_TIMES
}

const first = (settings: WatchSettings = SETTINGS): WatchStep => startWatch(settings, 0)
/** The DISCOVER with which that appliance asks. */
const probeOf = (us: { address: string; mac: string }): DhcpMessage =>
  first({ ...SETTINGS, ...us }).send[0]?.message as DhcpMessage
const PROBE = probeOf(OURS)

type Given = Partial<Omit<DhcpMessage, 'options'>> & { options?: DhcpOptions }

/** An offer to some machine, from 192.0.2.9 unless said otherwise. */
const offer = ({ options, ...given }: Given = {}, from = '192.0.2.9'): WatchInput => ({
  heard: aRequest({
    op: 'reply',
    yiaddr: '192.0.2.50',
    ...given,
    options: { messageType: 'offer', serverId: '192.0.2.9', ...options }
  }),
  from,
  port: 68
})
/** The same, to our probe. */
const reply = (given: Given = {}, from?: string) =>
  offer({ chaddr: PROBE.chaddr, xid: PROBE.xid, ...given }, from)
const request = (given: Given = {}): WatchInput => ({
  heard: aRequest({ ...given, options: { messageType: 'request', serverId: '192.0.2.9', ...given.options } }),
  from: '0.0.0.0',
  port: 67
})
const asking = (twin: typeof OURS): WatchInput => ({ heard: probeOf(twin), from: twin.address, port: 67 })
const answerOf = (twin: typeof OURS, from = twin.address): WatchInput => ({
  heard: twinAnswer(PROBE, { ...twin, mark: null }) as DhcpMessage,
  from,
  port: 68
})

/** Goes on from the start by what is heard at which time (ms); with the timer running in between. */
function run(events: [at: number, input: WatchInput][], settings = SETTINGS, until?: number) {
  let step = first(settings)
  const [sent, news]: [number[], string[]] = [[], []]
  const note = (at: number, next: WatchStep) => {
    step = next
    if (step.send.length > 0) sent.push(at)
    news.push(
      ...step.news.map((one) =>
        one.is === 'alone' ? `${at} alone` : `${at} ${one.is} ${one.server.address}`
      )
    )
  }
  const passUntil = (time: number) => {
    while (step.wakeAt <= time) note(step.wakeAt, stepWatch(step.watch, 'timer', step.wakeAt))
  }
  if (step.send.length > 0) sent.push(0)
  for (const [at, input] of events) {
    passUntil(at)
    note(at, stepWatch(step.watch, input, at))
  }
  passUntil(until ?? events.at(-1)?.[0] ?? 0)
  return { watch: step.watch, status: watchStatus(step.watch), lookUp: step.lookUp, sent, news }
}

t.test('the probe', async (t) => {
  const { send } = first()
  t.same(send.map(({ port }) => port), [67, 4011]) // prettier-ignore
  const [discover, pxe] = send.map(({ message }) => decodeDhcp(encodeDhcp(message))) as [
    DhcpMessage,
    DhcpMessage
  ]
  t.match(discover, { op: 'request', flags: 0x8000, ciaddr: '0.0.0.0', options: { messageType: 'discover' } })
  t.match(pxe, { ciaddr: OURS.address, options: { messageType: 'request', vendorClass: /^PXEClient/ } })
  for (const message of [discover, pxe]) {
    t.equal(seedlingOf(message), OURS.mac)
    t.equal(
      Number.parseInt(message.chaddr.slice(0, 2), 16) & 3,
      2,
      'a locally administered address, no group'
    )
    t.not(message.chaddr, OURS.mac)
  }
  t.same(probeOf(OURS), PROBE, 'the same client at every start')
  t.not(probeOf(LOW).chaddr, PROBE.chaddr, 'and another one on another appliance')
})

t.test('when it asks', async (t) => {
  const alone = run([], SETTINGS, 60_000)
  t.same([alone.sent, alone.news], [[0, 2000, 27_000, 52_000], ['4000 alone']])
  t.equal(run([], SETTINGS, 3999).status.state, 'probing')
  t.equal(run([], SETTINGS, 4000).status.state, 'alone')
  const found = run([[30_000, reply()]], SETTINGS, 60_000)
  t.same(found.sent, [0, 2000, 27_000, 40_000, 50_000, 60_000], 'more often while another server is known')
  const overheard = run([[30_000, request()]], SETTINGS, 40_000)
  t.same(overheard.sent, [0, 2000, 27_000, 32_000], 'soon when one was overheard')
  const silent = run([[5000, offer()]], { ...SETTINGS, quiet: true }, 60_000)
  t.same(silent.sent, [], 'never when it is to be quiet')
  t.match(silent.status, { state: 'foreign', servers: [{ address: '192.0.2.9' }] })
})

t.test('a server is forgotten after three probes without an answer', async (t) => {
  const events: [number, WatchInput][] = [
    [27_100, reply()],
    [27_200, { server: '192.0.2.9', mac: '52:54:00:00:00:99' }],
    [37_200, reply()],
    [47_200, reply()]
  ]
  const before = run(events, SETTINGS, 47_200 + 44_999)
  t.match(before.status, { state: 'foreign', servers: [{ firstSeenAt: 27_100, lastSeenAt: 47_200 }] })
  const after = run(events, SETTINGS, 47_200 + 45_000)
  t.same(after.status, { state: 'alone', servers: [] })
  t.same(after.news, ['4000 alone', '27200 found 192.0.2.9', '92200 gone 192.0.2.9', '92200 alone'])
})

t.test('a server found at the start and gone since', async (t) => {
  const { status, news } = run([[100, reply()]], SETTINGS, 46_000)
  t.same(status, { state: 'alone', servers: [] })
  t.same(news, ['45100 gone 192.0.2.9', '45100 alone'])
})

const ANSWERED: Partial<DhcpServer> = {
  address: '192.0.2.9',
  kind: 'dhcp',
  seenBy: 'probe',
  twin: false,
  mac: null
}

/** What is heard once the start is over → the server that is known by it, and what that means; null: nothing. */
const HEARD: Record<string, [input: WatchInput, server: Partial<DhcpServer> | null, state?: 'alone']> = {
  'an answer to our probe': [reply(), ANSWERED],
  'an offer to somebody else': [offer(), { ...ANSWERED, seenBy: 'offer' }],
  'an ACK': [offer({ options: { messageType: 'ack' } }), { ...ANSWERED, seenBy: 'offer' }],
  'a NAK': [offer({ yiaddr: '0.0.0.0', options: { messageType: 'nak' } }), { ...ANSWERED, seenBy: 'offer' }],
  'an offer without a server id is known by its source': [
    offer({ options: { serverId: undefined } }, '192.0.2.8'),
    { address: '192.0.2.8' }
  ],
  'a proxyDHCP server: no address, only a file': [
    reply({ yiaddr: '0.0.0.0', options: { vendorClass: 'PXEClient' } }),
    { ...ANSWERED, kind: 'proxy' }
  ],
  'a boot server on port 4011': [
    reply({
      yiaddr: '0.0.0.0',
      ciaddr: OURS.address,
      options: { messageType: 'ack', vendorClass: 'PXEClient' }
    }),
    { ...ANSWERED, kind: 'proxy' }
  ],
  'the answer to an INFORM has no address either': [
    offer({
      yiaddr: '0.0.0.0',
      ciaddr: '192.0.2.7',
      options: { messageType: 'ack', vendorClass: 'PXEClient' }
    }),
    { kind: 'dhcp' }
  ],
  'a client that takes an offer that is not ours': [request(), { ...ANSWERED, seenBy: 'request' }],
  'a server that may be there': [
    reply({ options: { serverId: '192.0.2.66' } }, '192.0.2.66'),
    { harmless: true },
    'alone'
  ],
  'a client of a server that may be there': [
    request({ options: { serverId: '192.0.2.66' } }),
    { harmless: true },
    'alone'
  ],
  'our server id from another host': [
    offer({ options: { serverId: OURS.address } }, '192.0.2.8'),
    { address: '192.0.2.8', seenBy: 'offer' }
  ],
  'a server behind a relay': [
    offer({ giaddr: '192.0.2.254', options: { serverId: '198.51.100.9' } }, '192.0.2.254'),
    { address: '198.51.100.9', mac: null }
  ],
  'a server whose relay hides it, by the answer to our probe': [
    reply({ giaddr: '192.0.2.254', options: { serverId: '192.0.2.254' } }, '192.0.2.254'),
    { address: '192.0.2.254', seenBy: 'probe' }
  ],
  'a twin with a lower MAC': [answerOf(LOW), { ...LOW, kind: 'dhcp', twin: true, harmless: false }],
  'a twin with a higher MAC, which stands down': [
    answerOf(HIGH),
    { ...HIGH, twin: true, harmless: true },
    'alone'
  ],
  'a twin with our own address': [
    answerOf({ ...LOW, address: OURS.address }),
    { address: OURS.address, mac: LOW.mac, twin: true }
  ],

  'our own offer': [offer({ options: { serverId: OURS.address } }, OURS.address), null],
  'our own offer to our own probe': [reply({ options: { serverId: OURS.address } }, OURS.address), null],
  'our own answer to a twin': [
    { heard: twinAnswer(probeOf(LOW), SETTINGS) as DhcpMessage, from: OURS.address, port: 68 },
    null
  ],
  'our own offer, brought back by a relay': [
    offer({ giaddr: '192.0.2.254', options: { serverId: OURS.address } }, '192.0.2.254'),
    null
  ],
  'our own offer, brought back by a relay that hides us': [
    offer({ giaddr: '192.0.2.254', options: { serverId: '192.0.2.254' } }, '192.0.2.254'),
    null
  ],
  'our own probe': [{ heard: PROBE, from: OURS.address, port: 67 }, null],
  'our own probe, brought back by a relay': [
    { heard: { ...PROBE, giaddr: '192.0.2.254', hops: 1 }, from: '192.0.2.254', port: 67 },
    null
  ],
  'our own probe on the clients’ port': [{ heard: PROBE, from: OURS.address, port: 68 }, null],
  'the probe of a twin, which need not serve': [asking(LOW), null],
  'a client that takes our offer': [request({ options: { serverId: OURS.address } }), null],
  'a client that asks for the address it had': [request({ options: { serverId: undefined } }), null],
  'a client that renews and names a server of long ago': [request({ ciaddr: '192.0.2.50' }), null],
  'a client behind a relay, where another server may well be': [request({ giaddr: '198.51.100.254' }), null],
  'an answer on the servers’ port': [{ ...(offer() as object), port: 67 } as WatchInput, null],
  'a request on the clients’ port': [{ ...(request() as object), port: 68 } as WatchInput, null],
  'a reply that is no answer': [offer({ options: { messageType: 'discover' } }), null],
  'something else in option 224': [
    request({ options: { serverId: undefined, '#224': Buffer.from('seedling:?') } }),
    null
  ]
}

t.test('what is heard', async (t) => {
  for (const [name, [input, server, state = server ? 'foreign' : 'alone']] of Object.entries(HEARD)) {
    const { status } = run([[5000, input]])
    t.equal(status.state, state, name)
    t.match(status.servers, server ? [server] : [], name)
    t.equal(status.servers.length, server ? 1 : 0, name)
  }
})

t.test('no request that a real client was recorded with is an alarm', async (t) => {
  const names = readdirSync(join(import.meta.dirname, '../fixtures/dhcp')).filter((name) =>
    name.endsWith('.hex')
  )
  t.ok(names.length > 8)
  for (const name of names) {
    const heard = recorded(name.replace('.hex', ''))
    const { serverId } = heard.options
    const { status } = run([[5000, { heard, from: '0.0.0.0', port: 67 }]], {
      ...SETTINGS,
      address: serverId ?? OURS.address
    })
    t.same(status, { state: 'alone', servers: [] }, name)
  }
})

t.test('whose MAC is looked up', async (t) => {
  const cases: Record<string, [input: WatchInput, host: string | undefined]> = {
    'the sender’s': [reply(), '192.0.2.9'],
    'the sender’s, not that of the server it names': [reply({}, '192.0.2.8'), '192.0.2.8'],
    'the server’s that a client takes an offer of': [request(), '192.0.2.9'],
    'nobody’s behind a relay': [reply({ giaddr: '192.0.2.254' }, '192.0.2.254'), undefined],
    'not a twin’s, which tells it': [answerOf(LOW), undefined]
  }
  for (const [name, [input, host]] of Object.entries(cases)) {
    const found = run([[5000, input]])
    t.same(found.lookUp, host ? [{ server: '192.0.2.9', host }] : [], name)
    t.equal(found.news.length, host ? 1 : 2, 'people are told once it is known')
  }
  t.same(run([[5000, reply()], [6000, reply()]]).lookUp, [], 'once') // prettier-ignore
})

t.test('what more is learnt of a server', async (t) => {
  const proxy = reply({ yiaddr: '0.0.0.0', options: { vendorClass: 'PXEClient' } })
  const cases: Record<string, [inputs: WatchInput[], server: Partial<DhcpServer>]> = {
    'its MAC': [[reply(), { server: '192.0.2.9', mac: '52:54:00:00:00:99' }], { mac: '52:54:00:00:00:99' }],
    'that it has no MAC that can be found': [[reply(), { server: '192.0.2.9', mac: null }], { mac: null }],
    'it gives addresses too': [[proxy, reply()], { kind: 'dhcp' }],
    'it still gives addresses, although this client has one': [[reply(), proxy], { kind: 'dhcp' }],
    'it was first noticed otherwise': [[request(), reply()], { seenBy: 'request' }],
    'it is a twin, by its answer': [
      [offer({ options: { serverId: LOW.address } }, LOW.address), answerOf(LOW)],
      { ...LOW, twin: true, harmless: false }
    ],
    'it is a twin that will stand down, by its probe': [
      [offer({ options: { serverId: HIGH.address } }, HIGH.address), asking(HIGH)],
      { ...HIGH, twin: true, harmless: true, lastSeenAt: 5000 }
    ]
  }
  for (const [name, [inputs, server]] of Object.entries(cases))
    t.match(run(inputs.map((input, index) => [5000 + index, input])).status.servers, [server], name)
})

t.test('of two that start at the same time the one with the lower MAC goes on', async (t) => {
  t.match(run([[100, asking(LOW)]]).status, {
    state: 'foreign',
    servers: [{ ...LOW, twin: true, harmless: false }]
  })
  t.same(run([[100, asking(HIGH)]]).status, { state: 'probing', servers: [] })
  t.match(run([[100, answerOf(HIGH)]]).status, { state: 'foreign' }, 'one that answers serves already')
})

t.test('one that is harmless is asked about less often, and kept longer', async (t) => {
  const tolerated = reply({ options: { serverId: '192.0.2.66' } }, '192.0.2.66')
  const { status } = run([[5000, tolerated]], SETTINGS, 94_999)
  t.match(status, { state: 'alone', servers: [{ address: '192.0.2.66' }] })
  t.same(run([[5000, tolerated]], SETTINGS, 95_000).status, { state: 'alone', servers: [] })
  t.equal(run([[5000, offer()]], { ...SETTINGS, quiet: true }, 604_999).status.state, 'foreign')
  t.equal(run([[5000, offer()]], { ...SETTINGS, quiet: true }, 605_000).status.state, 'alone')
})

t.test('a flood of forged offers fills no memory', async (t) => {
  const forged = (host: number): [number, WatchInput] => [
    5000,
    offer({ options: { serverId: `198.51.100.${host}` } })
  ]
  const { status } = run(Array.from({ length: 250 }, (_, host) => forged(host)))
  t.equal(status.servers.length, 16)
})

t.test('what is of no interest leaves the state the same object', async (t) => {
  const { watch } = run([], SETTINGS, 5000)
  const same = (given: Watch) => t.equal(given, watch)
  same(stepWatch(watch, request({ options: { serverId: OURS.address } }), 5001).watch)
  same(stepWatch(watch, { server: '192.0.2.9', mac: null }, 5001).watch)
})

t.test('the answer to a twin’s probe', async (t) => {
  const relayAgent = Buffer.from('0104aabbccdd', 'hex')
  const probe = probeOf(LOW)
  const relayed = { ...probe, giaddr: '192.0.2.254', hops: 1, options: { ...probe.options, relayAgent } }
  const answer = decodeDhcp(encodeDhcp(twinAnswer(relayed, SETTINGS) as DhcpMessage))
  t.same(answer, {
    ...aRequest(),
    op: 'reply',
    xid: probe.xid,
    chaddr: probe.chaddr,
    giaddr: '192.0.2.254',
    options: {
      messageType: 'offer',
      serverId: OURS.address,
      clientMachineId: probe.options.clientMachineId,
      relayAgent,
      '#224': Buffer.from(`seedling:${OURS.mac}`)
    }
  })
  const none: Record<string, DhcpMessage | undefined> = {
    'to our own': PROBE,
    'to the request for port 4011': first({ ...SETTINGS, ...LOW }).send[1]?.message,
    'to an answer': twinAnswer(probe, { ...HIGH, mark: null }) ?? undefined,
    'to a machine': aRequest(),
    'to a client that uses the option for something else': aRequest({
      options: { messageType: 'discover', '#224': Buffer.from(LOW.mac) }
    })
  }
  for (const [name, message] of Object.entries(none))
    t.equal(twinAnswer(message as DhcpMessage, SETTINGS), null, name)
})

t.test('what is told without decoding never hides what decoding would show', async (t) => {
  for (const [name, [input, server]] of Object.entries(HEARD)) {
    if (typeof input !== 'object' || !('port' in input) || input.port !== 67 || input.heard.op !== 'request')
      continue
    const told = concernsWatch(encodeDhcp(input.heard), OURS.address)
    t.equal(
      told,
      server !== null || seedlingOf(input.heard) !== null || name === 'something else in option 224',
      name
    )
  }
  t.notOk(concernsWatch(Buffer.alloc(12), OURS.address), 'rubbish')
})

t.test('a copy of the whole VM, with our own MAC, is told by its mark and answered', (t) => {
  const [mark, copy] = [Buffer.from('one'), Buffer.from('two')]
  const probe = first({ ...SETTINGS, mark: copy }).send[0]?.message as DhcpMessage
  t.equal(twinAnswer(probe, { ...OURS, mark: copy }), null, 'our own')
  const answer = twinAnswer(probe, { ...OURS, mark })
  t.same(answer?.options['#225'], mark)
  t.end()
})
