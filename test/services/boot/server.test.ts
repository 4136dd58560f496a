import { execFile } from 'node:child_process'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { Agent, request, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import fc from 'fast-check'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { bootFileHashes, openBootFiles } from '../../../services/boot/files.ts'
import type { RamdiskPaths } from '../../../services/config.ts'
import { buildBoot, startBoot, type BootDeps, type Routes } from '../../../services/boot/server.ts'
import { metadataRoutes } from '../../../services/metadata/routes.ts'
import { bootPlan } from '../../../src/decide/gate.ts'
import { decideTftp } from '../../../src/decide/tftp.ts'
import type { Milestone, Order } from '../../../src/domain/order.ts'
import { aNode, anOrder, aPort, NOW } from '../../support/builders.ts'
import { hostileNames } from '../../support/hostile-names.ts'
import { aPlace, RAMDISK_WINDOW, sha256, WRITTEN, type Given } from '../../support/machine-facing.ts'

const run = promisify(execFile)

const LOADER = Buffer.from('MZ a loader')

async function aServer(t: Test, given: Given, more: { routes?: Routes[] } = {}) {
  const place = aPlace(t, given)
  const files = await openBootFiles({
    x86_64: { kernel: join(place.dataDir, 'kernel'), ramdisk: join(place.dataDir, 'ramdisk') }
  })
  t.teardown(() => files.close())
  const loaders = new Map([['snponly.efi', { bytes: LOADER, sha256: sha256(LOADER) }]])
  const metadata = metadataRoutes({ ...place.deps, url: place.settings.url, wake: () => {} })
  const deps = {
    ...place.deps,
    dataDir: place.dataDir,
    files,
    loaders,
    settings: place.settings,
    routes: [metadata, ...(more.routes ?? [])]
  }
  return { ...place, bootDeps: deps }
}

async function anApp(t: Test, given: Given) {
  const server = await aServer(t, given)
  const app = buildBoot(server.bootDeps)
  t.teardown(() => app.close())
  const get = (url: string, headers: Record<string, string> = {}, remoteAddress = '127.0.0.1') =>
    app.inject({ method: 'GET', url, headers, remoteAddress })
  return { ...server, app, get }
}

const MAC = '52:54:00:00:00:01'

t.test('in its window a machine gets everything it needs', async (t) => {
  const { get, hashes, kernel, ramdisk, manifest, digest, chunk, events } = await anApp(t, RAMDISK_WINDOW)
  const script = await get(`/boot/script?mac=52-54-00-00-00-01&uuid=x`)
  t.equal(
    (await get('/boot/loader/autoexec.ipxe')).body,
    script.body,
    'where an iPXE that came by HTTP looks'
  )
  t.equal(script.statusCode, 200)
  t.match(script.body, /^#!ipxe\n[^]*seedling\.token=a{64}/)
  const files: [string, Buffer][] = [
    [`/boot/kernel/${hashes.kernel}`, kernel],
    [`/boot/ramdisk/${hashes.ramdisk}`, ramdisk],
    ['/boot/loader/snponly.efi', LOADER],
    ['/boot/loader/SNPONLY.EFI', LOADER],
    [`/images/${digest}/manifest`, manifest],
    [`/images/chunks/${sha256(chunk)}`, chunk]
  ]
  for (const [url, bytes] of files) {
    const answer = await get(url)
    t.equal(answer.statusCode, 200, url)
    t.ok(answer.rawPayload.equals(bytes), `${url}: every byte`)
    t.equal(answer.headers.etag, `"${sha256(bytes)}"`, `${url}: its hash is its tag`)
  }
  t.same(
    events(),
    [
      'script-served ramdisk',
      'file-served http:kernel',
      'file-served http:ramdisk',
      'file-served http:snponly.efi',
      'file-served http:manifest'
    ],
    'chunks are too many to tell'
  )
})

t.test('what GRUB and shim look for, by the names they use', async (t) => {
  const { get, events, app } = await anApp(t, RAMDISK_WINDOW)
  for (const url of ['/grub/grub.cfg', '/boot/loader/grub.cfg', '/grub/grub.cfg-01-52-54-00-00-00-01']) {
    const config = await get(url)
    t.equal(config.statusCode, 200, url)
    t.match(config.body, /^for turn in [^]*'seedling\.token=a{64}'/)
  }
  t.equal((await get('/grub/grub.cfg-01-52-54-00-00-00-02')).statusCode, 403, 'another machine’s')
  for (const url of [
    '/grub/x86_64-efi/command.lst',
    '/boot/loader/revocations_sku.efi',
    '/boot/loader/pxelinux.cfg/default'
  ])
    t.equal((await get(url)).statusCode, 404, url)
  t.same([...new Set(events())], ['script-served ramdisk'], 'what is looked for in vain is no news')
  const head = await app.inject({ method: 'HEAD', url: '/grub/grub.cfg', remoteAddress: '127.0.0.1' })
  t.equal(head.statusCode, 200)
  t.ok(Number(head.headers['content-length']) > 500, 'its size')
  t.equal(head.body, '')
})

t.test('who asks for another machine gets nothing', async (t) => {
  const { get, events } = await anApp(t, RAMDISK_WINDOW)
  t.equal((await get(`/boot/script?mac=52:54:00:00:00:02`)).statusCode, 403)
  t.equal((await get(`/boot/script`)).statusCode, 403, 'no MAC')
  t.equal((await get(`/boot/script?mac=${MAC}&mac=${MAC}`)).statusCode, 403, 'two MACs')
  t.equal((await get(`/boot/script?mac=${MAC}`, {}, '127.0.0.2')).statusCode, 404, 'from elsewhere')
  t.equal(
    (await get(`/boot/script?mac=${MAC}`, {}, '::ffff:127.0.0.1')).statusCode,
    200,
    'IPv4 on a dual socket'
  )
  t.same(events(), ['script-served ramdisk'])
})

t.test('what came through a proxy is turned away', async (t) => {
  const { get } = await anApp(t, RAMDISK_WINDOW)
  for (const name of ['X-Forwarded-For', 'Forwarded', 'X-Real-IP', 'Via', 'X-Forwarded-Host', 'X-Client-IP'])
    t.equal((await get(`/boot/script?mac=${MAC}`, { [name]: '127.0.0.1' })).statusCode, 400, name)
})

t.test('unknown and hostile paths', async (t) => {
  const { get, digest, hashes } = await anApp(t, RAMDISK_WINDOW)
  for (const url of [
    '/',
    '/boot',
    '/boot/kernel',
    `/boot/kernel/${'0'.repeat(64)}`,
    `/boot/kernel/${hashes.ramdisk}`,
    `/boot/kernel/${hashes.kernel.toUpperCase()}`,
    '/boot/loader/grub.efi',
    '/boot/loader/..%2f..%2fsecret.key',
    '/boot/loader/%2e%2e',
    '/images/chunks/..%2f..%2f..%2fseedling.db',
    '/images/chunks/../../seedling.db',
    `/images/chunks/${'0'.repeat(64)}`,
    `/images/chunks/${'0'.repeat(63)}`,
    `/images/chunks/${digest.slice(0, 2)}%00${digest.slice(3)}`,
    `/images/chunks/${'a'.repeat(5000)}`,
    '/agent'
  ]) {
    const { statusCode, headers } = await get(url)
    t.ok([403, 404, 414].includes(statusCode), `${url}: ${statusCode}`)
    t.match(headers['content-type'], /json/, `${url}: an error, not a file`)
  }
  t.equal((await get(`/images/${'f'.repeat(64)}/manifest`)).statusCode, 403, 'the manifest of another image')
})

t.test('after the image is written nothing that boots is served', async (t) => {
  const { get, hashes, digest, chunk, events } = await anApp(t, WRITTEN)
  for (const url of [
    `/boot/kernel/${hashes.kernel}`,
    `/boot/ramdisk/${hashes.ramdisk}`,
    '/boot/loader/snponly.efi',
    `/images/${digest}/manifest`,
    `/images/chunks/${sha256(chunk)}`
  ])
    t.equal((await get(url)).statusCode, 403, url)
  t.match((await get(`/boot/script?mac=${MAC}`)).body, /^#!ipxe\necho .*\nexit 1\n$/)
  t.same(events(), ['file-refused http:not-now', 'script-served local-disk'], 'the refusals are one line')
})

t.test('an inspection needs no image', async (t) => {
  const { get, digest, chunk } = await anApp(t, {
    order: { kind: 'inspect', imageId: null, instanceUuid: null, ticks: { 'powered-off': NOW } }
  })
  t.match((await get(`/boot/script?mac=${MAC}`)).body, /seedling\.token/)
  t.equal((await get(`/images/${digest}/manifest`)).statusCode, 403)
  t.equal((await get(`/images/chunks/${sha256(chunk)}`)).statusCode, 403)
})

// --- the property: served implies allowed -----------------------------------------------------------------------------

const MILESTONES: Milestone[] = ['powered-off', 'powered-on', 'agent-seen', 'image-written', 'instance-up']

const mostly = fc.nat({ max: 9 }).map((value) => value > 0)
const anyState = fc.record({
  enrolled: mostly,
  maintenance: mostly.map((yes) => !yes),
  pxeEnabled: mostly,
  nodeState: fc.constantFrom('enroll', 'manageable', 'available', 'active' as const),
  order: fc.option(
    fc.record({
      kind: fc.constantFrom<Order['kind']>('inspect', 'deploy', 'deploy', 'manage', 'reboot', 'undeploy'),
      state: fc.constantFrom<Order['state']>('open', 'open', 'open', 'done', 'failed', 'cancelled'),
      ticked: fc.nat({ max: 5 }).map((count) => MILESTONES.slice(0, count))
    }),
    { freq: 6 }
  ),
  hasInstance: fc.boolean()
})

/** A name of every kind that firmware and loaders ask for (src/decide/tftp-names.ts), in every dialect; `boots`: in the ramdisk's window. */
const TFTP_NAMES: readonly { file: string; boots: boolean }[] = [
  ...['snponly.efi', 'SNPONLY.EFI', 'any/folder\\shimx64.efi', 'grubx64.efi', '\x01\xff'].map((file) => ({
    file,
    boots: true
  })),
  ...['autoexec.ipxe', 'boot/autoexec.ipxe'].map((file) => ({ file, boots: true })),
  ...['', '-01-52-54-00-00-00-01', '-7f000001', '-7F00', '-6e6f6465-0000-4000-8000-000000000001'].map(
    (suffix) => ({ file: `/grub/grub.cfg${suffix}`, boots: true })
  ),
  { file: '/grub/grub.cfg-01-52-54-00-00-00-02', boots: false },
  { file: '/grub/grub.cfg-C0000264', boots: false },
  ...['default', '01-52-54-00-00-00-01', '7F000001'].map((name) => ({
    file: `pxelinux.cfg/${name}`,
    boots: false
  })),
  ...['/grub/x86_64-efi/fs.lst', 'normal.mod', 'revocations_sku.efi', 'shim_certificate_0.efi'].map(
    (file) => ({
      file,
      boots: false
    })
  ),
  ...['vmlinuz', '../../etc/passwd', ''].map((file) => ({ file, boots: false }))
]

t.test('for every state and every path: served implies allowed', async (t) => {
  const { get, set, app, settings, hashes, kernel, ramdisk, manifest, digest, chunk, deps } = await anApp(
    t,
    {}
  )
  const boots: [string, Buffer][] = [
    [`/boot/kernel/${hashes.kernel}`, kernel],
    [`/boot/ramdisk/${hashes.ramdisk}`, ramdisk],
    ['/boot/loader/snponly.efi', LOADER],
    [`/images/${digest}/manifest`, manifest],
    [`/images/chunks/${sha256(chunk)}`, chunk]
  ]
  const metadata = [
    '/latest/meta-data/instance-id',
    '/2009-04-04/meta-data',
    '/latest/user-data',
    `/metadata/${'b'.repeat(64)}/request`
  ]
  const seen = { ramdisk: 0, 'local-disk': 0, nothing: 0 }
  await fc.assert(
    fc.asyncProperty(anyState, async (state) => {
      const ticks = Object.fromEntries((state.order?.ticked ?? []).map((name) => [name, NOW]))
      const node = {
        state: state.nodeState,
        maintenance: state.maintenance,
        instanceUuid: null as string | null
      }
      if (state.hasInstance && state.order?.state !== 'open')
        node.instanceUuid = '696e7374-0000-4000-8000-000000000001'
      const order = state.order && { kind: state.order.kind, state: state.order.state, ticks }
      set({
        node,
        port: { pxeEnabled: state.pxeEnabled },
        order,
        instance: state.hasInstance ? { userData: Buffer.from('#!/bin/sh\n').toString('base64') } : null
      })
      const address = state.enrolled ? '127.0.0.1' : '127.0.0.9'
      const plan = state.enrolled
        ? bootPlan({
            node: aNode(node),
            port: aPort({ pxeEnabled: state.pxeEnabled }),
            order: order && anOrder(order)
          }).boot
        : 'nothing'
      seen[plan]++
      for (const [url] of boots) {
        for (const headers of [{}, { range: 'bytes=0-0' }] as Record<string, string>[]) {
          const { statusCode } = await get(url, headers, address)
          if (statusCode < 300 && plan !== 'ramdisk') throw new Error(`${url} served, the plan is ${plan}`)
          if (statusCode >= 300 && plan === 'ramdisk' && url.startsWith('/boot/'))
            throw new Error(`${url} refused (${statusCode}) in the ramdisk's window`)
        }
        const head = await app.inject({ method: 'HEAD', url, remoteAddress: address })
        if (head.statusCode < 300 && plan !== 'ramdisk') throw new Error(`HEAD ${url} served`)
      }
      for (const url of [`/boot/script?mac=${MAC}`, '/boot/loader/autoexec.ipxe', '/grub/grub.cfg']) {
        const script = await get(url, {}, address)
        if (script.body.includes('seedling.token') !== (plan === 'ramdisk'))
          throw new Error(`${url} of plan ${plan}: ${script.body}`)
      }
      for (const url of metadata)
        if ((await get(url, {}, address)).statusCode < 300 && plan !== 'local-disk' && state.enrolled)
          throw new Error(`${url} read, the plan is ${plan}`)
      for (const { file, boots } of TFTP_NAMES) {
        const verdict = decideTftp(
          { op: 'read', file, mode: 'octet', options: new Map() },
          deps.facts.machineByIp(address),
          new Set(['snponly.efi', 'shimx64.efi', 'grubx64.efi']),
          settings,
          NOW
        )
        const boot =
          verdict.serve === 'loader' || (verdict.serve === 'text' && verdict.text.includes('seedling.token'))
        if (boot !== (boots && plan === 'ramdisk'))
          throw new Error(`TFTP ${file}: ${verdict.serve}, the plan is ${plan}`)
      }
    }),
    { seed: 16, numRuns: 80 }
  )
  for (const [plan, times] of Object.entries(seen)) t.ok(times > 3, `${plan}: ${times} times`)
})

// --- over a real socket, with curl ------------------------------------------------------------------------------------

async function listening(
  t: Test,
  given: Given,
  more: Partial<BootDeps> & Pick<Parameters<typeof startBoot>[0], 'metadata'> = {}
) {
  const server = await aServer(t, given)
  const boot = await startBoot({ ...server.bootDeps, ...more, listen: { host: '127.0.0.1', port: 0 } })
  t.teardown(() => boot.close())
  const base = `http://127.0.0.1:${boot.port}`
  const curl = async (...args: string[]) =>
    (await run('curl', ['-sS', '--max-time', '20', ...args], { encoding: 'buffer', maxBuffer: 2 ** 27 }))
      .stdout
  return { ...server, boot, base, curl }
}

t.test('curl: whole, resumed, headers only, unchanged', async (t) => {
  const { base, curl, hashes, ramdisk } = await listening(t, RAMDISK_WINDOW)
  const url = `${base}/boot/ramdisk/${hashes.ramdisk}`
  t.ok((await curl(url)).equals(ramdisk), 'whole')
  t.ok((await curl('-r', '1000000-', url)).equals(ramdisk.subarray(1_000_000)), 'resumed')
  t.ok((await curl('-r', '-7', url)).equals(ramdisk.subarray(-7)), 'the end')
  const code = async (...args: string[]) =>
    String(await curl('-o', '/dev/null', '-w', '%{http_code}', ...args, url))
  t.equal(await code('-r', '5-6'), '206')
  t.equal(await code('-r', '99999999-'), '416')
  t.equal(await code('-H', `If-None-Match: "${hashes.ramdisk}"`), '304')
  t.equal(await code('-r', '5-6', '-H', 'If-Range: "other"'), '200')
  const head = String(await curl('-I', url)).toLowerCase()
  t.match(head, /^http\/1\.1 200/)
  t.match(head, `content-length: ${ramdisk.length}`)
  t.match(head, `etag: "${hashes.ramdisk}"`)
  t.match(head, 'accept-ranges: bytes')
})

t.test('ten thousand names that try to get out get nothing', { timeout: 110_000 }, async (t) => {
  const { boot, dataDir } = await listening(t, RAMDISK_WINDOW)
  const canary = join(dataDir, 'canary')
  writeFileSync(canary, 'CANARY')
  symlinkSync(canary, join(dataDir, 'link.efi'))
  const below = ['', 'boot/', 'boot/loader/', 'boot/kernel/', 'images/chunks/', 'latest/meta-data/']
  const ask = async (path: string) => {
    const socket = connect(boot.port, '127.0.0.1')
    socket.end(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`, 'latin1')
    return text(socket)
  }
  const names = hostileNames(canary, 10_000).map(
    (name, index) => `/${below[index % below.length]}${name.toString('latin1')}`
  )
  const wrong: string[] = []
  for (let done = 0; done < names.length; done += 16)
    await Promise.all(
      names.slice(done, done + 16).map(async (path) => {
        const answer = await ask(path)
        if (!/^HTTP\/1\.1 4\d\d /.test(answer) || answer.includes('CANARY'))
          wrong.push(`${path}: ${answer.slice(0, 60)}`)
      })
    )
  t.same(wrong, [])
})

t.test('at the address where clouds have their metadata, too, until the end', async (t) => {
  const { curl, settings, kernel, boot } = await listening(t, RAMDISK_WINDOW, {
    metadata: { host: '127.0.0.1', port: 8169 }
  })
  const url = `http://127.0.0.1:8169/boot/kernel/${settings.ramdisks.x86_64?.kernel}`
  t.ok((await curl(url)).equals(kernel))
  await boot.close()
  await t.rejects(curl(url), /Failed to connect|Couldn't connect/)
})

t.test('many at once, each whole', async (t) => {
  const { base, curl, hashes, ramdisk } = await listening(t, RAMDISK_WINDOW)
  const got = await Promise.all(
    Array.from({ length: 30 }, () => curl(`${base}/boot/ramdisk/${hashes.ramdisk}`))
  )
  t.ok(got.every((bytes) => bytes.equals(ramdisk)))
})

t.test('a client that goes away in the middle harms nobody', async (t) => {
  const { base, curl, boot, hashes, kernel, events } = await listening(t, RAMDISK_WINDOW)
  for (let round = 0; round < 5; round++)
    await new Promise<void>((resolve) => {
      const socket = connect(boot.port, '127.0.0.1', () => {
        socket.write(`GET /boot/ramdisk/${hashes.ramdisk} HTTP/1.1\r\nHost: x\r\n\r\n`)
        socket.once('data', () => socket.destroy())
        socket.once('close', () => resolve())
      })
    })
  t.ok((await curl(`${base}/boot/kernel/${hashes.kernel}`)).equals(kernel))
  t.same(events(), ['file-served http:kernel'], 'only what was taken whole is told')
})

t.test('a file that had to be sent twice over is told as such', async (t) => {
  const asked: number[] = []
  const segments = (fd: number) => {
    asked.push(fd)
    return { sent: 1000, resent: 200 }
  }
  const { base, curl, hashes, kernel, events } = await listening(t, RAMDISK_WINDOW, { segments })
  t.ok((await curl(`${base}/boot/kernel/${hashes.kernel}`)).equals(kernel))
  t.same(events(), ['file-served http:kernel', 'boot-delayed http packets-lost'])
  t.ok(
    asked.every((fd) => fd > 2),
    `asked of the connection: ${asked.join(', ')}`
  )
})

t.test('one machine has 32 connections, and no more', async (t) => {
  const { boot } = await listening(t, RAMDISK_WINDOW)
  const open = await Promise.all(
    Array.from(
      { length: 40 },
      () =>
        new Promise<boolean>((resolve) => {
          const socket = connect(boot.port, '127.0.0.1')
          t.teardown(() => void socket.destroy())
          socket.on('error', () => {})
          socket.once('close', () => resolve(false))
          socket.once('connect', () => setTimeout(() => resolve(!socket.destroyed), 1000))
          socket.resume()
        })
    )
  )
  t.equal(open.filter(Boolean).length, 32)
})

t.test('when too many load, a machine is told its place and when to ask again', async (t) => {
  const admission = { loading: 1, holdMilliseconds: 200 }
  const { base, boot, curl, hashes, kernel } = await listening(t, RAMDISK_WINDOW, { admission })
  const ramdisk = `/boot/ramdisk/${hashes.ramdisk}`
  const first = connect(boot.port, '127.0.0.1', () =>
    first.write(`GET ${ramdisk} HTTP/1.1\r\nHost: x\r\n\r\n`)
  )
  first.on('error', () => {})
  await new Promise((resolve) => first.once('readable', resolve))
  const busy = await fetch(base + ramdisk)
  t.equal(busy.status, 503)
  t.match(Number(busy.headers.get('retry-after')), 1)
  t.match(await busy.json(), { code: 'busy', message: /number 1 in the queue/ })
  t.equal((await fetch(base + ramdisk, { method: 'HEAD' })).status, 200, 'to look is free')
  t.equal((await fetch(`${base}/boot/script?mac=${MAC}`)).status, 200, 'small answers are not delayed')
  first.destroy()
  t.ok(
    (await curl('--retry', '3', `${base}/boot/kernel/${hashes.kernel}`)).equals(kernel),
    'then it is let in'
  )
})

t.test('slow headers, slow bodies and silence are cut off', { timeout: 60_000 }, async (t) => {
  const { boot } = await listening(t, RAMDISK_WINDOW)
  const head =
    'POST /agent/hello HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n'
  const slow = {
    headers: { begin: 'GET / HTTP/1.1\r\nHost: x\r\n', drip: 'X: y\r\n' },
    body: { begin: head, drip: ' ' },
    silence: { begin: 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', drip: '' }
  }
  const started = Date.now()
  await Promise.all(
    Object.entries(slow).map(async ([what, { begin, drip }]) => {
      const socket = connect(boot.port, '127.0.0.1', () => socket.write(begin))
      const dripping = setInterval(() => socket.write(drip), 500)
      socket.on('error', () => {})
      await once(socket.resume(), 'close')
      clearInterval(dripping)
      t.ok(Date.now() - started < 25_000, `${what}: ${Date.now() - started} ms`)
    })
  )
})

t.test('one connection carries all that a machine asks for', async (t) => {
  const { boot, hashes, ramdisk, digest } = await listening(t, RAMDISK_WINDOW)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  let reused = 0
  const ask = async (method: string, path: string, headers: Record<string, string> = {}) => {
    const asked = request({ host: '127.0.0.1', port: boot.port, agent, method, path, headers }).end()
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    const body = await buffer(answer)
    if (asked.reusedSocket) reused++
    return { status: answer.statusCode, body }
  }
  const file = `/boot/ramdisk/${hashes.ramdisk}`
  for (let round = 0; round < 3; round++) {
    t.equal((await ask('HEAD', file)).body.length, 0)
    t.ok((await ask('GET', file)).body.equals(ramdisk))
    const range = await ask('GET', file, { range: 'bytes=1000-1999' })
    t.equal(range.status, 206)
    t.ok(range.body.equals(ramdisk.subarray(1000, 2000)))
    t.match((await ask('GET', `/boot/script?mac=${MAC}`)).body.toString(), /^#!ipxe/)
    t.equal((await ask('GET', `/images/${digest}/manifest`)).status, 200)
    t.equal((await ask('GET', '/boot/kernel/none')).status, 404)
  }
  t.equal(reused, 17)
})

t.test('kernel and ramdisk must be there at start, of every architecture that is configured', async (t) => {
  const dir = t.testdir({ kernel: 'k', ramdisk: 'r', empty: '' })
  const [kernel, ramdisk] = [join(dir, 'kernel'), join(dir, 'ramdisk')]
  const opening = (x86_64: RamdiskPaths, aarch64?: RamdiskPaths) =>
    openBootFiles({ x86_64, ...(aarch64 ? { aarch64 } : {}) })
  await t.rejects(opening({ kernel, ramdisk: join(dir, 'none') }), {
    code: 'bad-config',
    message: /"boot\.ramdisk".*none.*image\/ramdisk\/build makes/
  })
  await t.rejects(opening({ kernel: join(dir, 'empty'), ramdisk }), {
    code: 'bad-config',
    message: /"boot\.kernel".*empty/
  })
  await t.rejects(opening({ kernel, ramdisk }, { kernel: join(dir, 'none'), ramdisk }), {
    code: 'bad-config',
    message: /"boot\.aarch64\.kernel".*none.*image\/ramdisk\/build arm64/
  })
})

t.test('each architecture has its kernel and ramdisk under their own hashes', async (t) => {
  const { bootDeps, dataDir, kernel } = await aServer(t, RAMDISK_WINDOW)
  writeFileSync(join(dataDir, 'kernel-arm64'), 'Image')
  const x86 = { kernel: join(dataDir, 'kernel'), ramdisk: join(dataDir, 'ramdisk') }
  const files = await openBootFiles({
    x86_64: x86,
    aarch64: { ...x86, kernel: join(dataDir, 'kernel-arm64') }
  })
  t.teardown(() => files.close())
  const app = buildBoot({ ...bootDeps, files })
  t.teardown(() => app.close())
  const hashes = bootFileHashes(files)
  const got = async (sha256: string) =>
    (await app.inject({ url: `/boot/kernel/${sha256}`, remoteAddress: '127.0.0.1' })).rawPayload
  t.same(await got(hashes.x86_64!.kernel), kernel)
  t.equal((await got(hashes.aarch64!.kernel)).toString(), 'Image')
})

// --- the list of routes -----------------------------------------------------------------------------------------------

t.test('the routes are those of the table in services/README.md', async (t) => {
  const found = new Set<string>()
  const listRoutes = async (app: FastifyInstance): Promise<void> => {
    app.addHook('onRoute', ({ method, url }) => {
      for (const verb of [method].flat()) if (verb !== 'HEAD') found.add(`${verb} ${url}`)
    })
  }
  const server = await aServer(t, {})
  // Hooks see the routes registered after them and below them: so everything is mounted below this one.
  const app = buildBoot({
    ...server.bootDeps,
    routes: [
      async (inner) => {
        await listRoutes(inner)
        for (const routes of server.bootDeps.routes) await inner.register(routes)
      }
    ]
  })
  await app.ready()
  t.teardown(() => app.close())
  for (const line of app.printRoutes({ commonPrefix: false }).split('\n')) {
    const match = /^[│├└─\s]*(\/(?:boot|images)\S*) \(([A-Z, ]+)\)/.exec(line)
    for (const verb of match?.[2]?.split(', ') ?? []) if (verb !== 'HEAD') found.add(`${verb} ${match?.[1]}`)
  }

  const table = readFileSync(new URL('../../../services/README.md', import.meta.url), 'utf8')
  const section = table.slice(table.indexOf('## Machine-facing HTTP'), table.indexOf('## Images'))
  const documented = new Set<string>()
  for (const row of section
    .split('\n')
    .filter((line) => line.startsWith('| `') && !line.includes('/agent/'))) {
    const cell = (row.split('|')[1] as string).replace('<instance token>', '<token>')
    for (const verb of cell.match(/\b[A-Z]{3,}\b/g) ?? [])
      for (const path of cell.match(/\/[^\s`,?]+/g) ?? [])
        documented.add(
          `${verb} ${path.replace(/<(\w+)>/g, ':$1').replace(/^\/(latest|2009-04-04)\//, '/:version/')}`
        )
  }
  // "…" is whatever lies below, and the folder itself.
  const routes = new Set<string>(documented)
  for (const entry of documented) {
    if (!entry.endsWith('/…')) continue
    routes.delete(entry)
    if (entry !== 'GET /:version/…') routes.add(entry.slice(0, -2)).add(entry.replace('…', '*'))
  }
  // Of routes that end in a star the list shows the star alone: so they are asked for one by one, and counted.
  const stars = [...routes].filter((entry) => /^GET \/(boot|grub)\S*\/\*$/.test(entry))
  for (const entry of stars)
    if (app.hasRoute({ method: 'GET', url: entry.slice('GET '.length) })) found.add(entry)
  const shown = app.printRoutes({ commonPrefix: false }).match(/^[│├└─\s]*\* \(GET/gm)
  t.equal(shown?.length, stars.length)
  const given = new Set([...found].map((entry) => entry.replace(/:version\([^/]*\)/, ':version')))
  t.same([...given].sort(), [...routes].sort())
})
