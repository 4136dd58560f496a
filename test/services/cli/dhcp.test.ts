// The dhcp commands as a child process (bench.ts).

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { encodeDhcp } from '../../../src/wire/dhcp.ts'
import { decodePcap } from '../../../src/wire/pcap.ts'
import { aLease, aNode, anOrder, aPort } from '../../support/builders.ts'
import { aPacket, aRequest, recordedBytes } from '../../support/dhcp.ts'
import { bench } from './bench.ts'

const MAC = '52:54:00:00:00:01'
const SECOND = '52:54:00:00:00:02'

async function prepared(t: Parameters<typeof bench>[0]) {
  const b = await bench(t)
  const ticks = { 'powered-off': Date.now() }
  b.change([
    { put: 'node', row: aNode() },
    { put: 'port', row: aPort() },
    // Not before tomorrow, so that the conductor lets it be.
    { put: 'order', row: anOrder({ ticks, notBefore: Date.now() + 86_400_000 }) }
  ])
  const bytes = encodeDhcp(aRequest({ options: { messageType: 'discover' } }))
  b.ring.note({ ...aPacket({ at: 1000.5, bytes }), mac: MAC, enrolled: true, decision: 'offer: 192.0.2.100' })
  return b
}

t.test('explain: first what happens now and why, then the rest', async (t) => {
  const b = await prepared(t)
  const row = aLease({
    mac: SECOND,
    state: 'declined',
    declines: 3,
    hostname: 'a\u001b[2Jb',
    expiresAt: Date.now() + 9e5
  })
  b.change([
    {
      put: 'port',
      row: aPort({ uuid: aPort().uuid.replace(/1$/, '2'), address: SECOND, reservedIp: '192.0.2.101' })
    },
    { put: 'lease', row: { ...row, ip: '192.0.2.101' } }
  ])
  const { code, out, err } = await b.run('dhcp', 'explain', 'ctl-1')
  t.equal(code, 0, err)
  const lines = out.split('\n')
  t.equal(
    lines[0],
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets 192.0.2.100 and the boot file snponly.efi: deploy, attempt 1.'
  )
  t.equal(
    lines[1],
    'If ctl-1 (52:54:00:00:00:02) asks now, it gets no answer: 192.0.2.101 was declined 3 times.'
  )
  for (const line of [
    /^enrolled as +ctl-1, deploying$/m,
    /^boots from network +yes$/m,
    /^address +192\.0\.2\.100 of 192\.0\.2\.0\/24: reserved for it at its enrolment/m,
    /^BUT the address is +declined 3 times in a row because somebody else uses it; given to nobody for another \d+ s$/m,
    /^may boot now +ramdisk: deploy, attempt 1$/m,
    /^asks through +no relay, it is on this network$/m,
    /^BIOS PXE +offer +192\.0\.2\.100 +undionly\.kpxe +deploy, attempt 1$/m,
    /^BIOS PXE +none +- +- +192\.0\.2\.101 was declined 3 times$/m,
    /^an installed system +offer +192\.0\.2\.100 +- +an installed system asks$/m,
    /^No lease\.$/m,
    /^192\.0\.2\.101 +52:54:00:00:00:02 +declined +ctl-1 +a\?\[2Jb /m,
    /^00:00:01\.000 +→ +discover +0\.0\.0\.0:68 +255\.255\.255\.255:67 +300 +offer: 192\.0\.2\.100$/m,
    /^No packet was seen since Seedling started\.$/m
  ])
    t.match(out, line)
  t.notOk(out.includes('\u001b'), 'what a machine calls itself does not steer the terminal')

  const stranger = await b.run('dhcp', 'explain', '52-54-00-00-00-99')
  t.match(
    stranger.out,
    /^If 52:54:00:00:00:99 asks now, it gets no answer: no port with this MAC is enrolled\.\n/
  )
  t.match(stranger.out, /^enrolled as +nothing$/m)
  t.match(await b.run('dhcp', 'explain', 'ctl-9'), { code: 1, err: /Node ctl-9 could not be found/ })
  const json = JSON.parse((await b.run('dhcp', 'explain', MAC, '--json')).out)
  t.match(json.explanations, [{ mac: MAC, gate: { boot: 'ramdisk' } }])
})

t.test('packets: into a file, or on', async (t) => {
  const b = await prepared(t)
  const file = join(b.folder, 'ctl-1.pcap')
  const saved = await b.run('dhcp', 'packets', 'ctl-1', '--output', file)
  t.match(saved, { code: 0, out: /ctl-1\.pcap: \d+ B; look with Wireshark/ })
  const [packet] = decodePcap(readFileSync(file))
  t.match(packet, { at: 1000.5, from: { address: '0.0.0.0', port: 68 } })
  const piped = await b.run('dhcp', 'packets', MAC, '--output', '-')
  t.equal(piped.code, 0)
  t.ok(piped.out.includes('\u0001\u0001\u0006\u0000'), 'the packet itself')
  t.match(await b.run('dhcp', 'packets', '52:54:00:00:00:99', '--output', file), {
    code: 1,
    err: /No DHCP packet of 52:54:00:00:00:99 was seen since Seedling started/
  })
  t.match(await b.run('dhcp', 'packets', 'ctl-1', '--output', '/nowhere/x'), { code: 1, err: /cannot write/ })
  t.equal((await b.run('dhcp', 'packets', 'ctl-1')).code, 2, 'where to is not guessed')
})

t.test('leases, status, and who is seen', async (t) => {
  const b = await prepared(t)
  b.change([
    { put: 'lease', row: aLease({ expiresAt: Date.now() + 1e6 }) },
    { put: 'lease', row: aLease({ mac: SECOND, ip: '192.0.2.150', expiresAt: 1 }) }
  ])
  const all = await b.run('dhcp', 'leases')
  t.match(all.out, /^192\.0\.2\.100 +52:54:00:00:00:01 +bound +ctl-1 /m)
  t.match(all.out, /^192\.0\.2\.150 +52:54:00:00:00:02 +expired +\(not enrolled\) /m)
  t.notMatch((await b.run('dhcp', 'leases', '--node', 'ctl-1')).out, /192\.0\.2\.150/)

  const alone = await b.run('dhcp', 'status')
  t.match(alone.out, /^mode +server: addresses and boot files for enrolled machines$/m)
  t.match(alone.out, /^other DHCP servers +none \(alone\)$/m)
  t.match(alone.out, /^received +3$/m)
  t.match(alone.out, /^192\.0\.2\.0\/24 +- +192\.0\.2\.100 to 192\.0\.2\.199, 1 of 100 taken +-/m)
  const times = { firstSeenAt: 1000, lastSeenAt: 2000 }
  b.around.watch = {
    state: 'foreign',
    servers: [{ address: '192.0.2.5', mac: SECOND, kind: 'dhcp', harmless: false, ...times }]
  }
  t.match(
    (await b.run('dhcp', 'status')).out,
    /^192\.0\.2\.5 +52:54:00:00:00:02 +dhcp +MUST NOT BE THERE +1970-01-01/m
  )

  b.ring.note({
    ...aPacket({ at: 5000, bytes: recordedBytes('ovmf-pxe-request') }),
    mac: '52:54:00:5e:ed:02',
    enrolled: false,
    decision: 'no answer: no port with this MAC is enrolled'
  })
  b.seen.answered(
    aRequest({ op: 'reply', yiaddr: '192.0.2.77', options: { messageType: 'offer' } }),
    '192.0.2.5'
  )
  const seen = await b.run('dhcp', 'seen')
  t.match(
    seen.out,
    /^00:00:05 +52:54:00:5e:ed:02 +\(not enrolled\) +request +pxe-uefi +x64 UEFI +- +192\.0\.2\.1 +no answer/m
  )
  t.match(seen.out, /^\d\d:\d\d:\d\d +192\.0\.2\.5 +1 +offer +52:54:00:00:00:01 +192\.0\.2\.77 /m)
})
