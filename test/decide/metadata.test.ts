import t from 'tap'
import {
  decideMetadata,
  decideSignal,
  ec2Tree,
  metadataFaults,
  readSignal,
  requestDocument,
  type MetadataFacts,
  type Signal
} from '../../src/decide/metadata.ts'
import { readEc2 } from '../../src/wire/ec2.ts'
import { aHandover, anImage, anInstance, aNode, anOrder, aPort, NOW } from '../support/builders.ts'

const TOKEN = anInstance().token
const written = { 'powered-off': 1, 'powered-on': 2, 'agent-seen': 3, 'image-written': 4 }
const WRITTEN: MetadataFacts = {
  port: aPort(),
  node: aNode(),
  order: anOrder({ ticks: written }),
  image: anImage(),
  instance: anInstance()
}
const ACTIVE: MetadataFacts = {
  ...WRITTEN,
  node: aNode({ state: 'active' }),
  order: anOrder({ state: 'done', ticks: { ...written, 'instance-up': 5 } })
}
const ask = (facts: MetadataFacts, more: { token?: string; firstRead?: boolean } = {}) =>
  decideMetadata({ dialect: 'request', address: '192.0.2.100', firstRead: true, ...more }, facts, NOW)

t.test('the first read after the image was written is the sign of life', async (t) => {
  t.match(ask(WRITTEN), {
    serve: true,
    changes: [
      { event: { kind: 'metadata-read', subject: 'request', detail: { address: '192.0.2.100' } } },
      { tick: 'instance-up', orderId: anOrder().id, attempt: 1, at: NOW },
      { event: { kind: 'milestone-reached', detail: { milestone: 'instance-up', by: 'metadata' } } }
    ]
  })
  t.match(ask(ACTIVE, { firstRead: false }), { serve: true, changes: [] }, 'a later poll changes nothing')
  t.match(
    ask({ ...WRITTEN, order: anOrder({ ticks: { ...written, 'instance-up': 5 } }) }, { firstRead: false }),
    { serve: true, changes: [] },
    'nor does one before the order is closed'
  )
})

t.test('a machine that was handed over still reads its metadata', async (t) => {
  const handover = aHandover({ finishedAt: NOW })
  const gone = { ...ACTIVE, node: aNode({ state: 'active', handover }) }
  t.match(ask(gone), { serve: true })
  t.match(ask({ ...gone, instance: null }), { serve: false, refusal: 'not-now' })
  t.match(ask(gone, { token: 'c'.repeat(64) }), { serve: false, refusal: 'superseded' })
})

const REFUSED: Record<string, { facts: MetadataFacts; token?: string; refusal: string }> = {
  'a stranger': {
    facts: { port: null, node: null, order: null, image: null, instance: null },
    refusal: 'stranger'
  },
  'a token that is no longer the node’s': { facts: ACTIVE, token: 'c'.repeat(64), refusal: 'superseded' },
  'a token of a node without instance': {
    facts: { ...ACTIVE, instance: null },
    token: TOKEN,
    refusal: 'superseded'
  },
  'before the image is written': {
    facts: { ...WRITTEN, order: anOrder({ ticks: { 'powered-off': 1 } }) },
    refusal: 'not-now'
  },
  'a machine that is being deployed anew, before it is off': {
    facts: { ...ACTIVE, order: anOrder() },
    refusal: 'not-now'
  },
  'an active machine that we did not deploy': { facts: { ...ACTIVE, instance: null }, refusal: 'not-now' },
  'an idle machine': { facts: { ...WRITTEN, order: null }, refusal: 'not-now' }
}

t.test('who is told nothing', async (t) => {
  for (const [name, { facts, token, refusal }] of Object.entries(REFUSED)) {
    t.match(ask(facts, token === undefined ? {} : { token }), { serve: false, refusal }, name)
    if (token !== undefined || refusal !== 'superseded')
      t.match(
        decideSignal(
          { token: token ?? TOKEN, signal: readSignal(Buffer.from('{}')), repeated: false },
          facts,
          NOW
        ),
        { serve: false },
        `${name}, signalling`
      )
  }
})

const SIGNALS: Record<string, [body: string, signal: Partial<Signal>]> = {
  'os-refresh-config’s hook': [
    '{"Status":"SUCCESS","Reason":"done","UniqueId":"x","Data":"ok"}',
    { status: 'SUCCESS', reason: 'done', data: 'ok' }
  ],
  'a failure': [
    '{"Status":"FAILURE","Reason":"no disk"}',
    { status: 'FAILURE', reason: 'no disk', data: null }
  ],
  'a software deployment': [
    '{"deploy_stdout":"out","deploy_stderr":"","deploy_status_code":"0"}',
    { status: 'SUCCESS', reason: '', data: 'out' }
  ],
  'a failed software deployment': ['{"deploy_status_code":1}', { status: 'FAILURE' }],
  'data that is an object': ['{"Status":"success","Data":{"a":1}}', { status: 'SUCCESS', data: '{"a":1}' }],
  'no status': ['{}', { status: 'UNKNOWN', reason: null }],
  nothing: ['', { status: 'UNKNOWN', reason: 'the signal is not JSON' }],
  'no JSON': ['<x/>', { status: 'UNKNOWN', data: '<x/>' }],
  'a list': ['null', { status: 'UNKNOWN', reason: 'the signal is not an object' }],
  'a status with control characters': ['{"Status":"a\\u001b[2J"}', { status: 'A?[2J' }]
}

t.test('signals, whatever is sent', async (t) => {
  for (const [name, [body, signal]] of Object.entries(SIGNALS))
    t.match(readSignal(Buffer.from(body)), signal, name)
  const long = readSignal(
    Buffer.from(JSON.stringify({ Status: 'x'.repeat(99), Reason: 'r'.repeat(9999), Data: 'd'.repeat(9999) }))
  )
  t.ok(long.status.length <= 21 && (long.reason ?? '').length <= 1001 && (long.data ?? '').length <= 4001)
})

t.test('a signal is an event once, and a sign of life', async (t) => {
  const signal = readSignal(Buffer.from('{"Status":"SUCCESS"}'))
  const first = decideSignal({ token: TOKEN, signal, repeated: false }, WRITTEN, NOW)
  t.match(first, {
    serve: true,
    changes: [
      { tick: 'instance-up' },
      { event: { kind: 'milestone-reached' } },
      { event: { kind: 'configuration-signalled', subject: 'SUCCESS' } }
    ]
  })
  t.match(decideSignal({ token: TOKEN, signal, repeated: true }, ACTIVE, NOW), { serve: true, changes: [] })
  const odd = decideSignal({ token: TOKEN, signal: { ...signal, status: 'X' }, repeated: false }, ACTIVE, NOW)
  t.match(odd, { changes: [{ event: { subject: 'other' } }] }, 'made-up statuses share one line')
})

t.test('the EC2 tree', async (t) => {
  const instance = anInstance({
    publicKeys: { default: 'ssh-ed25519 AAAA me\n', 'a/b=c\nd': 'ssh-rsa BBBB' }
  })
  const tree = ec2Tree(instance, aNode(), aPort())
  const get = (path: string): string | undefined => readEc2(tree, path)
  t.equal(get('instance-id'), instance.uuid)
  t.equal(get('local-hostname'), 'ctl-1')
  t.equal(get('local-ipv4'), '192.0.2.100')
  t.equal(get('mac'), '52:54:00:00:00:01')
  t.equal(get('placement/availability-zone'), 'seedling')
  t.equal(get('public-keys/'), '0=default\n1=a_b_c d')
  t.equal(get('public-keys/0/openssh-key'), 'ssh-ed25519 AAAA me')
  t.equal(readEc2(ec2Tree(anInstance(), aNode(), aPort()), 'public-keys'), undefined, 'no empty folder')
})

t.test('the request document', async (t) => {
  const instance = anInstance({
    publicKeys: { default: 'ssh-ed25519 AAAA' },
    metadata: {
      role: { controller: true },
      'instance-id': 'forged',
      'completion-signal': 'http://elsewhere/',
      'os-collect-config': {
        request: { metadata_url: 'http://elsewhere/' },
        collectors: ['local'],
        command: 'reboot',
        polling_interval: 20,
        min_polling_interval: 'soon'
      }
    }
  })
  const url = 'http://192.0.2.1'
  const document = requestDocument(instance, aNode(), aPort(), url)
  const base = `${url}/metadata/${TOKEN}`
  t.match(document, {
    role: { controller: true },
    'instance-id': instance.uuid,
    'local-hostname': 'ctl-1',
    'public-keys': { '0': { 'openssh-key': 'ssh-ed25519 AAAA' } },
    'completion-signal': `${base}/signal`,
    'completion-handle': `${base}/signal`
  })
  t.same(
    document['os-collect-config'],
    { polling_interval: 20, collectors: ['request'], request: { metadata_url: `${base}/request` } },
    'the operator’s words cannot cut the wire'
  )
  const revision = (given: typeof instance) =>
    (requestDocument(given, aNode(), aPort(), url)['seedling'] as { revision: string }).revision
  t.equal(revision(instance), revision({ ...instance }), 'the same as long as nothing changes')
  t.not(revision(instance), revision({ ...instance, metadata: { role: {} } }), 'another when something does')
})

const FAULTS: Record<string, [metadata: unknown, faults: RegExp[]]> = {
  'an empty object': [{}, []],
  'a deployment as it should be': [{ deployments: [{ name: 'a', config: {} }] }, []],
  'a list': [[], [/JSON object/]],
  nothing: [null, [/JSON object/]],
  'deployments that are no list': [{ deployments: {} }, [/must be a list/]],
  'a deployment without config': [{ deployments: [{ name: 'a' }] }, [/needs a "config"/]],
  'a deployment whose name is a path': [{ deployments: [{ name: '../a', config: 1 }] }, [/without a slash/]],
  'several faults at once': [
    { deployments: ['x', { name: 1 }] },
    [/deployments\.0/, /deployments\.1/, /config/]
  ]
}

t.test('what an operator may not say', async (t) => {
  for (const [name, [metadata, faults]] of Object.entries(FAULTS)) {
    const found = metadataFaults(metadata)
    t.equal(found.length, faults.length, name)
    faults.forEach((fault, index) => t.match(found[index], fault, name))
  }
})
