import { execFile } from 'node:child_process'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { loadLoaders } from '../../../services/tftp/loaders.ts'
import { RAMDISK_WINDOW, sha256 } from '../../support/machine-facing.ts'
import { hostileNames } from '../../support/hostile-names.ts'
import { content } from './content.ts'
import { aClient, aServer, read, type Client } from './serving.ts'

const run = promisify(execFile)

const SIZES: Record<string, number> = {
  'empty.efi': 0,
  'one.efi': 1,
  'below.efi': 511,
  'block.efi': 512,
  'above.efi': 513,
  'mib.efi': 2 ** 20
}
const MIB = { 'mib.efi': 2 ** 20 }
const ONE = { 'one.efi': 1 }
const got = (name: string) => sha256(content(SIZES[name] as number))

/** Events are told a moment later. */
const told = () => sleep(120)

/** tftp-hpa's client; the path of what it got. */
async function hpa(t: Test, port: number, file: string, mode = 'binary'): Promise<Buffer> {
  const to = join(t.testdir({}), 'got')
  const { stdout, stderr } = await run(
    'tftp',
    ['-m', mode, '127.0.0.1', String(port), '-c', 'get', file, to],
    { timeout: 60_000 }
  )
  if (/error/i.test(stdout + stderr)) throw new Error((stdout + stderr).trim())
  return readFileSync(to)
}

t.test('the tftp-hpa client gets every size, 512 bytes a block', { timeout: 100_000 }, async (t) => {
  const { port, events } = await aServer(t, SIZES)
  for (const name of Object.keys(SIZES)) {
    t.equal(sha256(await hpa(t, port, name)), got(name), `${name}: every byte`)
  }
  await told()
  t.same(
    events().filter((line) => line.startsWith('file-served')),
    Object.keys(SIZES).map((name) => `file-served tftp:${name}`)
  )
})

t.test('curl gets every size with options', { timeout: 100_000 }, async (t) => {
  const { port } = await aServer(t, SIZES)
  // curl 7.88 itself fails on an empty file, with every server.
  for (const name of Object.keys(SIZES).filter((name) => name !== 'empty.efi'))
    for (const size of ['512', '1428', '65464']) {
      const { stdout } = await run(
        'curl',
        ['-sS', '--max-time', '60', '--tftp-blksize', size, `tftp://127.0.0.1:${port}/${name}`],
        { encoding: 'buffer', maxBuffer: 2 ** 27 }
      )
      t.equal(sha256(stdout), got(name), `${name}, blocks of ${size}`)
    }
})

t.test('atftp gets every size, with windows and without, however transfers are carried', async (t) => {
  const ways = {
    'in threads': {},
    'in one thread': { oneThread: true },
    'from one port': { singlePort: true }
  }
  for (const [way, more] of Object.entries(ways)) {
    const { port } = await aServer(t, SIZES, RAMDISK_WINDOW, more)
    for (const name of Object.keys(SIZES))
      for (const asked of [[], ['blksize 1468'], ['blksize 1468', 'windowsize 8'], ['windowsize 64']]) {
        const to = join(t.testdir({}), 'got')
        const options = asked.flatMap((option) => ['--option', option])
        const rest = ['-g', '-r', name, '-l', to, '127.0.0.1', String(port)]
        await run('atftp', [...options, ...rest], { timeout: 20_000 })
        const what = `${name}, ${asked.join(', ') || 'no options'}, ${way}`
        t.equal(sha256(readFileSync(to)), got(name), what)
      }
  }
})

t.test('block numbers go on at 0 after 65535', async (t) => {
  const { port } = await aServer(t, { 'long.efi': 66_000 * 8 + 3 })
  const to = join(t.testdir({}), 'got')
  const options = ['--option', 'blksize 8', '--option', 'windowsize 64']
  await run('atftp', [...options, '-g', '-r', 'long.efi', '-l', to, '127.0.0.1', String(port)])
  t.equal(sha256(readFileSync(to)), sha256(content(66_000 * 8 + 3)))
})

t.test('ten thousand names that try to get out get nothing, and quickly', { timeout: 60_000 }, async (t) => {
  const { port, tftp, dataDir } = await aServer(t, ONE)
  const canary = join(dataDir, 'canary')
  writeFileSync(canary, 'CANARY')
  symlinkSync(canary, join(dataDir, 'link.efi'))
  const client = await aClient(t)
  let answered = 0
  for (const name of hostileNames(canary, 10_000)) {
    client.send(Buffer.concat([Buffer.from([0, 1]), name, Buffer.from('\0octet\0')]), port)
    const answer = await client.next()
    if (answer?.packet.op !== 'error') return void t.fail(`${name.toString('latin1')}: ${answer?.packet.op}`)
    answered++
  }
  t.equal(answered, 10_000)
  t.equal(tftp.transfers(), 0)
  t.equal(await client.next(50), null, 'and nothing else')
})

t.test('iPXE’s own script, as text, and refusals as clients see them', async (t) => {
  const { port, set, events } = await aServer(t, ONE)
  t.match(String(await hpa(t, port, 'autoexec.ipxe')), /^#!ipxe\n[^]*seedling\.token/)
  await t.rejects(hpa(t, port, 'missing.efi'), { message: /no such file/ })
  await t.rejects(
    run('tftp', ['127.0.0.1', String(port), '-c', 'put', '/etc/hostname', 'x']).then(({ stdout }) => {
      if (/error/i.test(stdout)) throw new Error(stdout)
    }),
    { message: /nothing may be written/ }
  )
  await told()
  t.same(events(), ['script-served ramdisk', 'file-refused tftp:unknown-file', 'file-refused tftp:write'])
  set({ order: null })
  await t.rejects(hpa(t, port, 'one.efi'), { message: /no order for this machine/ })
})

t.test('to an address that no enrolled machine holds nothing is sent', async (t) => {
  const { port, set, deps, tftp, events } = await aServer(t, MIB)
  const strangers: Record<string, () => void> = {
    'nobody’s address': () => set({ ...RAMDISK_WINDOW, port: { reservedIp: '127.0.0.7' } }),
    'no lease': () => {
      set(RAMDISK_WINDOW)
      deps.store.db.prepare('DELETE FROM lease').run()
    }
  }
  for (const [name, become] of Object.entries(strangers)) {
    become()
    const client = await aClient(t)
    client.send(read('mib.efi', { blksize: '1468' }), port)
    client.send(read('missing.efi'), port)
    client.send({ op: 'write', file: 'x', mode: 'octet', options: new Map() }, port)
    client.send({ op: 'ack', block: 1 }, port)
    client.send(Buffer.from('0001', 'hex'), port)
    t.equal(await client.next(300), null, name)
    t.equal(tftp.transfers(), 0)
    t.same(events(), [], 'and leaves no trace')
  }
})

t.test('a size probe, then the load, from the same port', async (t) => {
  const { port, tftp, events } = await aServer(t, MIB)
  const client = await aClient(t)
  client.send(read('mib.efi', { tsize: '0', blksize: '1468' }), port)
  const probe = await client.next()
  t.match(probe?.packet, { op: 'option-ack', options: new Map([['tsize', '1048576']]) })
  client.send({ op: 'error', code: 8, message: 'no need' }, probe?.from.port as number)
  client.send(read('mib.efi', { blksize: '1468' }), port)
  const load = await client.next()
  t.match(load?.packet, { op: 'option-ack' })
  t.not(load?.from.port, probe?.from.port, 'a transfer identity of its own')
  t.not(load?.from.port, port)
  t.equal(tftp.transfers(), 1)
  t.same(events(), [], 'neither is a file served')
})

t.test('the request sent again starts no second transfer', async (t) => {
  const { port, tftp } = await aServer(t, MIB)
  const client = await aClient(t)
  for (let time = 0; time < 3; time++) client.send(read('mib.efi'), port)
  t.match((await client.next())?.packet, { op: 'data', block: 1 })
  t.equal(await client.next(300), null)
  t.equal(tftp.transfers(), 1)
})

t.test(
  'who never answers gets three datagrams and holds at most four transfers',
  { timeout: 20_000 },
  async (t) => {
    const { port, tftp } = await aServer(t, MIB)
    const clients = await Promise.all(Array.from({ length: 6 }, () => aClient(t)))
    for (const client of clients) client.send(read('mib.efi', { tsize: '0' }), port)
    await sleep(200)
    t.equal(tftp.transfers(), 4)
    await sleep(7500)
    t.equal(tftp.transfers(), 0, 'all given up')
    let heard = 0
    while (await (clients[5] as Client).next(50)) heard++
    t.equal(heard, 3)
  }
)

t.test('malformed requests are answered once, errors never', async (t) => {
  const { port, tftp } = await aServer(t, ONE)
  const client = await aClient(t)
  const answered = ['0001', '000161', '00ff', '00', '0004 0001', '0003 0001 00']
  for (const hex of answered) {
    client.send(Buffer.from(hex.replaceAll(' ', ''), 'hex'), port)
    t.match((await client.next())?.packet, { op: 'error' }, hex)
    t.equal(await client.next(30), null, `${hex}: once`)
  }
  for (const hex of ['0005', '0005 0000 6100']) {
    client.send(Buffer.from(hex.replaceAll(' ', ''), 'hex'), port)
    t.equal(await client.next(100), null, hex)
  }
  t.equal(tftp.transfers(), 0)
})

t.test('a client that loses big blocks gets smaller ones next time', { timeout: 60_000 }, async (t) => {
  const { port } = await aServer(t, MIB)
  const asked = read('mib.efi', { blksize: '65464' })
  for (const blksize of ['1468', '1024', '512', '512']) {
    const client = await aClient(t)
    client.send(asked, port)
    const first = await client.next()
    t.match(first?.packet, { op: 'option-ack', options: new Map([['blksize', blksize]]) })
    client.send({ op: 'ack', block: 0 }, first?.from.port as number)
    // As if no block arrived; then the client begins anew, without a word, from another port.
    for (let send = 0; send < 6; send++) t.match((await client.next())?.packet, { op: 'data', block: 1 })
  }
})

t.test('blocks that did not arrive are told, and blocks that had to be sent again', async (t) => {
  const { port, events } = await aServer(t, MIB)
  const client = await aClient(t)
  client.send(read('mib.efi', { blksize: '1468' }), port)
  const from = (await client.next())?.from.port as number
  client.send({ op: 'ack', block: 0 }, from)
  for (let send = 0; send < 6; send++) await client.next()
  client.send({ op: 'error', code: 0, message: 'nothing comes' }, from)
  await told()
  t.same(events(), ['boot-delayed tftp path-mtu'])

  const other = await aClient(t)
  other.send(read('mib.efi', { blksize: '1024', windowsize: '64' }), port)
  const again = (await other.next())?.from.port as number
  // A window each time, of which all but the first block is lost.
  for (let block = 0; block < 3; block++) {
    other.send({ op: 'ack', block }, again)
    for (let sent = 0; sent < 60; sent++) await other.next()
  }
  other.send({ op: 'error', code: 0, message: 'enough' }, again)
  await told()
  t.same(events(), ['boot-delayed tftp path-mtu', 'boot-delayed tftp packets-lost'])
})

t.test('blocks are no larger than the path carries', async (t) => {
  const { port } = await aServer(t, MIB, RAMDISK_WINDOW, { mtu: () => 1300 })
  const client = await aClient(t)
  client.send(read('mib.efi', { blksize: '1468' }), port)
  t.match((await client.next())?.packet, { options: new Map([['blksize', '1268']]) })
})

t.test('loaders', async (t) => {
  const folder = t.testdir({ 'A.EFI': 'a', '.hidden': 'x', sub: { 'b.efi': 'b' }, 'with space': 'x' })
  t.same([...loadLoaders([folder]).keys()], ['a.efi'])
  t.equal(loadLoaders([folder]).get('a.efi')?.sha256, sha256(Buffer.from('a')))
  t.throws(() => loadLoaders([join(folder, 'none')]), { code: 'bad-config', message: /cannot read/ })
  t.throws(() => loadLoaders([join(folder, 'sub', '..', 'sub2')]), { code: 'bad-config' })
  t.throws(() => loadLoaders([t.testdir({ 'a.efi': '', 'A.EFI': '' })]), {
    code: 'bad-config',
    message: /case/
  })
  t.throws(() => loadLoaders([folder, t.testdir({ README: { x: '' } })]), {
    code: 'bad-config',
    message: /no boot loader/
  })
})
