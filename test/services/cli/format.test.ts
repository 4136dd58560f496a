import t from 'tap'
import { eventWords, type ShownEvent } from '../../../services/cli/event-words.ts'
import { bytes, record, span, table } from '../../../services/cli/format.ts'
import { timeline } from '../../../services/cli/timeline.ts'

t.test('tables line up and show what is not there', async (t) => {
  t.equal(
    table(
      ['A', 'LONG'],
      [
        ['xxx', null],
        ['y', { a: 1 }]
      ]
    ),
    'A    LONG\nxxx  -\ny    {"a":1}'
  )
  t.equal(record({ a: 1, long: '' }), 'a     1\nlong  -')
  t.equal(record({ a: 'x\u001b[2J\ny\u009b' }), 'a  x?[2J?y?', 'nothing in them steers the terminal')
})

t.test('spans and sizes', async (t) => {
  const spans: [number, string][] = [
    [-5, '0.0s'],
    [440, '0.4s'],
    [9_940, '9.9s'],
    [12_400, '12s'],
    [59_600, '1m00s'],
    [185_000, '3m05s'],
    [7_800_000, '2h10m'],
    [273_600_000, '3d4h']
  ]
  for (const [milliseconds, text] of spans) t.equal(span(milliseconds), text)
  const sizes: [number, string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1.5 * 2 ** 30, '1.5 GiB'],
    [2 ** 50, '1024.0 TiB']
  ]
  for (const [count, text] of sizes) t.equal(bytes(count), text)
})

const event = (given: object) =>
  ({
    id: 1,
    at: '2026-11-23T08:00:00.000Z',
    last_at: '2026-11-23T08:00:00.000Z',
    repeats: 1,
    node_uuid: 'u',
    node_name: 'n',
    order_id: null,
    ...given
  }) as ShownEvent

t.test('events in words', async (t) => {
  const cases: [object, RegExp][] = [
    [
      {
        kind: 'boot-device-set',
        detail: {
          device: 'disk',
          persistent: false,
          efi: true,
          valid: true,
          asked: 'pxe, once, EFI',
          kept: false
        }
      },
      /asked pxe, once, EFI, but the BMC says disk/
    ],
    [
      {
        kind: 'dhcp-answered',
        detail: { type: 'offer', ip: '192.0.2.100', client: 'PXE', bootFile: null, reason: 'idle' }
      },
      /DHCP offer 192\.0\.2\.100 to PXE, no boot file \(idle\)/
    ],
    [
      { kind: 'write-progress', repeats: 9, detail: { stage: 'writing', done: 512, total: 1024 } },
      /^writing the disk: 50 % of 1\.0 KiB$/
    ],
    [{ kind: 'write-progress', detail: { stage: 'writing', done: 0, total: 0 } }, /0 %/],
    [{ kind: 'power-seen', repeats: 3, detail: { power: 'on' } }, /^power is on \(3 times\)$/],
    [
      {
        kind: 'agent-seen',
        detail: {
          ...{ bootMode: 'uefi', secureBoot: true, interface: null },
          ...{ disks: 1, memoryMiB: 512, clockSkewSeconds: -90 }
        }
      },
      /UEFI with Secure Boot, 1 disk, 512 MiB memory, clock off by -90 s/
    ],
    [
      {
        kind: 'loader-silent',
        detail: { loader: 'snponly.efi', seconds: 4, reason: 'refused', next: 'shimx64.efi' }
      },
      /^snponly\.efi was fetched and nothing followed for 4\.0s: refused; next is shimx64\.efi$/
    ],
    [
      { kind: 'order-failed', detail: { milestone: 'agent-seen', code: 'timeout', message: 'm', at: 0 } },
      /FAILED at agent-seen \(timeout\): m/
    ],
    [{ kind: 'of-a-newer-server', detail: { x: 1 } }, /of-a-newer-server \{"x":1\}/]
  ]
  for (const [given, text] of cases) t.match(eventWords(event(given)), text)
  const steering = eventWords(
    event({ kind: 'agent-failed', detail: { code: 'x', message: 'a\u001b[2Jb\u009b' } })
  )
  t.match(steering, /a\?\[2Jb\?$/, 'what a machine says does not steer the terminal')
})

t.test('a timeline shows the time between events, and each new day', async (t) => {
  const detail = { power: 'on' }
  const lines = timeline([
    event({ kind: 'power-seen', detail, at: '2026-11-23T08:00:00.000Z' }),
    event({ kind: 'power-seen', detail, at: '2026-11-23T08:00:01.500Z' }),
    event({ kind: 'power-seen', detail, at: '2026-11-25T08:00:01.500Z' })
  ]).split('\n')
  t.equal(lines.length, 5)
  t.match(lines[2], /\+1\.5s {2}power is on/)
  t.match(lines[4], /\+2d0h/)
})
