import { execFile } from 'node:child_process'
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { loadLoaders, type Loaders } from '../../../services/tftp/loaders.ts'
import { startTftp } from '../../../services/tftp/server.ts'
import { decodeTftp, encodeTftp, type TftpPacket } from '../../../src/wire/tftp.ts'
import { aPlace, RAMDISK_WINDOW, sha256, type Given } from '../../support/machine-facing.ts'

const run = promisify(execFile)

/** Content in which no block is like another. */
function content(size: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let offset = 0; offset + 4 <= size; offset += 4)
    bytes.writeUInt32LE(Math.imul(offset, 2654435761) >>> 0, offset)
  return bytes
}

const SIZES: Record<string, number> = {
  'empty.efi': 0,
  'one.efi': 1,
  'below.efi': 511,
  'block.efi': 512,
  'above.efi': 513,
  'mib.efi': 2 ** 20,
  'rollover.efi': 40 * 2 ** 20
}

async function aServer(t: Test, given: Given = RAMDISK_WINDOW, only?: string[]) {
  const place = aPlace(t, given)
  const loaders: Loaders = new Map(
    Object.entries(SIZES)
      .filter(([name]) => !only || only.includes(name))
      .map(([name, size]) => [name, { bytes: content(size), sha256: '' }])
  )
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  const tftp = startTftp({ ...place.deps, socket, address: '127.0.0.1', loaders, settings: place.settings })
  t.teardown(() => tftp.close())
  return { ...place, tftp, port, loaders }
}

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
  const { port, loaders, events } = await aServer(t)
  for (const name of Object.keys(SIZES)) {
    const got = await hpa(t, port, name)
    t.equal(sha256(got), sha256(loaders.get(name)?.bytes as Buffer), `${name}: every byte`)
  }
  t.same(
    events().filter((line) => line.startsWith('file-served')),
    Object.keys(SIZES).map((name) => `file-served tftp:${name}`)
  )
})

t.test('curl gets every size with options', { timeout: 100_000 }, async (t) => {
  const { port, loaders } = await aServer(t)
  // curl 7.88 itself fails on an empty file, with every server.
  for (const name of Object.keys(SIZES).filter((name) => name !== 'empty.efi'))
    for (const size of name === 'rollover.efi' ? ['512'] : ['512', '1428', '65464']) {
      const { stdout } = await run(
        'curl',
        ['-sS', '--max-time', '60', '--tftp-blksize', size, `tftp://127.0.0.1:${port}/${name}`],
        { encoding: 'buffer', maxBuffer: 2 ** 27 }
      )
      t.equal(sha256(stdout), sha256(loaders.get(name)?.bytes as Buffer), `${name}, blocks of ${size}`)
    }
})

t.test('iPXE’s own script, as text, and refusals as clients see them', async (t) => {
  const { port, set, events } = await aServer(t, RAMDISK_WINDOW, ['one.efi'])
  t.match(String(await hpa(t, port, 'autoexec.ipxe')), /^#!ipxe\n[^]*seedling\.token/)
  await t.rejects(hpa(t, port, 'missing.efi'), { message: /no such file/ })
  await t.rejects(
    run('tftp', ['127.0.0.1', String(port), '-c', 'put', '/etc/hostname', 'x']).then(({ stdout }) => {
      if (/error/i.test(stdout)) throw new Error(stdout)
    }),
    { message: /nothing may be written/ }
  )
  t.same(events(), ['script-served ramdisk', 'file-refused tftp:unknown-file', 'file-refused tftp:write'])
  set({ order: null })
  await t.rejects(hpa(t, port, 'one.efi'), { message: /no order for this machine/ })
  set({ ...RAMDISK_WINDOW, port: { reservedIp: '127.0.0.7' } })
  await t.rejects(hpa(t, port, 'one.efi'), { message: /not enrolled/ })
  t.same(events(), [], 'a stranger leaves no trace')
})

// --- a client made by hand --------------------------------------------------------------------------------------------

type Client = {
  socket: Socket
  send(packet: TftpPacket | Buffer, port: number): void
  /** The next datagram, or null after `milliseconds`. */
  next(milliseconds?: number): Promise<{ packet: TftpPacket; from: RemoteInfo } | null>
}

async function aClient(t: Test): Promise<Client> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  t.teardown(() => new Promise<void>((resolve) => socket.close(() => resolve())))
  const heard: { packet: TftpPacket; from: RemoteInfo }[] = []
  let wake: (() => void) | null = null
  socket.on('message', (bytes, from) => {
    heard.push({ packet: decodeTftp(bytes), from })
    wake?.()
  })
  return {
    socket,
    send: (packet, port) =>
      socket.send(Buffer.isBuffer(packet) ? packet : encodeTftp(packet), port, '127.0.0.1'),
    async next(milliseconds = 500) {
      if (heard.length === 0)
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, milliseconds)
          wake = () => (clearTimeout(timer), resolve())
        })
      wake = null
      return heard.shift() ?? null
    }
  }
}

const read = (file: string, asked: Record<string, string> = {}): TftpPacket => ({
  op: 'read',
  file,
  mode: 'octet',
  options: new Map(Object.entries(asked))
})

t.test('a size probe, then the load, from the same port', async (t) => {
  const { port, tftp, events } = await aServer(t, RAMDISK_WINDOW, ['mib.efi'])
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

t.test('another conversation’s packets do not disturb a transfer', async (t) => {
  const { port } = await aServer(t, RAMDISK_WINDOW, ['mib.efi'])
  const [client, intruder] = [await aClient(t), await aClient(t)]
  client.send(read('mib.efi'), port)
  const first = await client.next()
  t.match(first?.packet, { op: 'data', block: 1 })
  const transfer = first?.from.port as number
  intruder.send({ op: 'ack', block: 1 }, transfer)
  t.match((await intruder.next())?.packet, { op: 'error', code: 5 })
  intruder.send({ op: 'error', code: 0, message: 'die' }, transfer)
  t.equal(await intruder.next(200), null, 'an error is not answered')
  client.send(Buffer.from([4]), transfer)
  client.send(Buffer.alloc(0), transfer)
  client.send({ op: 'ack', block: 1 }, transfer)
  t.match((await client.next())?.packet, { op: 'data', block: 2 }, 'and goes on')
})

t.test('the request sent again starts no second transfer', async (t) => {
  const { port, tftp } = await aServer(t, RAMDISK_WINDOW, ['mib.efi'])
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
    const { port, tftp } = await aServer(t, RAMDISK_WINDOW, ['mib.efi'])
    const clients = await Promise.all(Array.from({ length: 6 }, () => aClient(t)))
    for (const client of clients) client.send(read('mib.efi', { tsize: '0' }), port)
    await new Promise((resolve) => setTimeout(resolve, 200))
    t.equal(tftp.transfers(), 4)
    await new Promise((resolve) => setTimeout(resolve, 7500))
    t.equal(tftp.transfers(), 0, 'all given up')
    let heard = 0
    while (await (clients[5] as Client).next(50)) heard++
    t.equal(heard, 3)
  }
)

t.test('malformed requests are answered once, errors never', async (t) => {
  const { port, tftp } = await aServer(t, RAMDISK_WINDOW, ['one.efi'])
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

t.test('a client that loses big blocks gets small ones next time', { timeout: 60_000 }, async (t) => {
  const { port } = await aServer(t, RAMDISK_WINDOW, ['mib.efi'])
  const client = await aClient(t)
  const asked = read('mib.efi', { blksize: '1468' })
  client.send(asked, port)
  const first = await client.next()
  t.match(first?.packet, { op: 'option-ack', options: new Map([['blksize', '1468']]) })
  client.send({ op: 'ack', block: 0 }, first?.from.port as number)
  // As if no block arrived; then the client begins anew.
  for (let block = 0; block < 3; block++) t.match((await client.next(2000))?.packet, { op: 'data', block: 1 })
  const again = await aClient(t)
  client.send({ op: 'error', code: 0, message: 'timed out' }, first?.from.port as number)
  await new Promise((resolve) => setTimeout(resolve, 50))
  again.send(asked, port)
  t.match((await again.next())?.packet, { op: 'option-ack', options: new Map([['blksize', '512']]) })
})

t.test('loaders', async (t) => {
  const folder = t.testdir({ 'A.EFI': 'a', '.hidden': 'x', sub: { 'b.efi': 'b' }, 'with space': 'x' })
  t.same([...loadLoaders(folder).keys()], ['a.efi'])
  t.equal(loadLoaders(folder).get('a.efi')?.sha256, sha256(Buffer.from('a')))
  t.throws(() => loadLoaders(join(folder, 'none')), { code: 'bad-config', message: /cannot read/ })
  t.throws(() => loadLoaders(join(folder, 'sub', '..', 'sub2')), { code: 'bad-config' })
  t.throws(() => loadLoaders(t.testdir({ 'a.efi': '', 'A.EFI': '' })), {
    code: 'bad-config',
    message: /case/
  })
  t.throws(() => loadLoaders(t.testdir({ README: { x: '' } })), {
    code: 'bad-config',
    message: /no boot loader/
  })
})
