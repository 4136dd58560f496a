// Files of every awkward size, 0 bytes to 64 MiB, fetched by TFTP and HTTP by everybody who may fetch them, firmware included, on a good link and on
// one that loses a fifth of all packets each way: every byte is the right one. Takes long.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { root } from '../../scripts/lab/lab.ts'
import { serveBootApart } from '../services/boot/serving.ts'
import { content } from '../services/tftp/content.ts'
import { serveApart } from '../services/tftp/serving.ts'
import { sha256 } from '../support/machine-facing.ts'
import { addNamespace, connect, losePackets } from '../support/namespace.ts'
import { buildAll } from './build.ts'
import {
  BRIDGE,
  CHECK,
  FIRMWARE,
  MACHINE,
  MOST_LOSSY,
  PROGRAM,
  PROGRAMS,
  SERVER,
  type Wanted
} from './fetching.ts'

const MIB = 2 ** 20
/** Around the block sizes 512, 1428, 1432 and 1468; around 65,535 blocks of 512, where their numbers begin anew; the largest. */
const SIZES = [
  ...[0, 1, 511, 512, 513, 1024, 1427, 1428, 1429, 1431, 1432, 1433, 1467, 1468, 1469, 65_535, 65_536],
  ...[MIB + 1, 65_535 * 512, 65_536 * 512, 64 * MIB]
]
/** A block at a time, every third of them lost, takes a quarter of an hour for 64 MiB; less large ones would show no more. */
const SIZES_LOSSY = SIZES.filter((size) => size < 32 * MIB - 512 || size === 64 * MIB)
/** "SEEDLING_FETCH=20.*OVMF" for some of them alone. */
const only = new RegExp(process.env['SEEDLING_FETCH'] ?? '')

t.setTimeout(14_400_000)
buildAll('tiny')

for (const [lossPercent, sizes] of [
  [0, SIZES],
  [20, SIZES_LOSSY]
] as const)
  t.test(`${lossPercent} % lost each way`, async (t) => {
    const [host, room] = [await addNamespace('host'), await addNamespace('room')]
    t.teardown(() => Promise.all([room, host].map((namespace) => namespace.remove())))
    await connect([host, 'lan'], [room, 'eth0'])
    await host.run('ip', 'address', 'add', `${SERVER}/24`, 'dev', 'lan')
    const link = (line: string) => room.run('ip', ...line.split(' '))
    await link(`link add ${BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`)
    await link(`tuntap add tap0 mode tap`)
    for (const port of ['eth0', 'tap0']) await link(`link set ${port} master ${BRIDGE} up`)
    await link(`link set ${BRIDGE} up`)
    await link(`address add ${PROGRAM}/24 dev ${BRIDGE}`)

    const folder = mkdtempSync(join(tmpdir(), 'fetch-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    const files = join(folder, 'files')
    mkdirSync(files)
    const put = (name: string, bytes: Uint8Array) => {
      writeFileSync(join(files, name), bytes)
      return { path: join(files, name), sha256: sha256(bytes) }
    }
    const chunks = [put('check', Buffer.from(CHECK)), ...sizes.map((size) => put(`f${size}`, content(size)))]
    const wrap = ['ip', 'netns', 'exec', host.name]
    const clients = [PROGRAM, MACHINE]
    const ramdisk = join(root, '.cache/image/ramdisk')
    const http = await serveBootApart(
      {
        ...{ address: SERVER, port: 80, chunks, clients },
        ...{ kernel: join(ramdisk, 'vmlinuz'), ramdisk: join(ramdisk, 'base.img') }
      },
      wrap
    )
    t.teardown(() => http.stop())
    const loaders = Object.fromEntries(sizes.map((size) => [`f${size}`, size]))
    const tftp = await serveApart({ address: SERVER, port: 69, loaders, clients }, wrap)
    t.teardown(() => tftp.stop())
    if (lossPercent > 0) await losePackets(host, room, lossPercent)

    const [check, ...paths] = http.paths.chunks as [string, ...string[]]
    const place = { room, folder, check, kernel: http.paths.kernel, ramdisk: http.paths.ramdisk }
    const wanted = sizes.map((size, index): Wanted => ({
      ...{ name: `f${size}`, path: paths[index]!, size },
      sha256: chunks[index + 1]!.sha256
    }))
    for (const [name, fetch] of Object.entries({ ...PROGRAMS, ...FIRMWARE }).filter(([name]) =>
      only.test(`${lossPercent} % ${name}`)
    ))
      await t.test(name, async (t) => {
        const began = Date.now()
        // Of an empty file the UEFI shell makes one of 32 KiB by HTTP, and takes none by TFTP, where it divides by the size.
        const [least, most] = [
          name.startsWith('OVMF') ? 1 : 0,
          lossPercent > 0 ? (MOST_LOSSY[name] ?? Infinity) : Infinity
        ]
        const these = wanted.filter(({ size }) => size >= least && size <= most)
        const got = await fetch(place, these)
        for (const [index, { size, sha256 }] of these.entries()) t.equal(got[index], sha256, `${size} bytes`)
        t.comment(`${Math.round((Date.now() - began) / 1000)} s`)
      })
  })
