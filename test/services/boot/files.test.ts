// Bodies on real connections: readers that are slow, gone, or many.

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, openSync, writeFileSync } from 'node:fs'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { startBodies, type Bodies } from '../../../services/boot/bodies.ts'
import { createSender, openBootFiles, type Content, type Sent } from '../../../services/boot/files.ts'
import { sha256 } from '../../support/machine-facing.ts'

const MIB = 2 ** 20

/** Serves `content` at `/`; what came of each body. */
async function serving(t: Test, way: Way, name: string, slowest = 2 ** 20) {
  const { content, bodies } = way
  const send = createSender(bodies, { slowest, patienceSeconds: 1 })
  const sent: Sent[] = []
  const app = Fastify()
  app.get('/', async (request, reply) => {
    sent.push(await send(request, reply, content, name, 'application/octet-stream'))
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  return { port: (app.server.address() as AddressInfo).port, sent }
}

/** A connection that has asked and does not read. */
async function ask(t: Test, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => void socket.destroy())
  await once(socket, 'connect')
  socket.pause()
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  return socket
}

const bytes = randomBytes(24 * MIB)
const name = sha256(bytes)

type Way = { content: Content; bodies: Bodies | null }

const bodies = await startBodies()
t.ok(bodies, 'koffi is there')
t.teardown(() => bodies?.close())

async function ways(t: Test, part: Buffer = bytes): Promise<Record<string, Way>> {
  const path = join(t.testdir({}), 'file')
  writeFileSync(path, part)
  const fd = openSync(path, 'r')
  t.teardown(() => closeSync(fd))
  const content = { fd, size: part.length }
  return {
    'from memory': { content: { bytes: part }, bodies: null },
    'from a file': { content, bodies: null },
    'by a thread of its own': { content, bodies }
  }
}

t.test('who does not read is cut off, who reads slowly but surely is not', { timeout: 60_000 }, async (t) => {
  for (const [from, way] of Object.entries(await ways(t))) {
    const { port, sent } = await serving(t, way, name, 4 * MIB)
    const idle = await ask(t, port)
    const slow = await ask(t, port)
    slow.on('data', (part) => {
      slow.pause()
      setTimeout(() => slow.resume(), part.length / 5000)
    })
    slow.resume()
    while (sent.length < 2) await sleep(50)
    const whole = sent.map(({ whole }) => whole).sort()
    t.same(whole, [false, true], `${from}: the one that reads got all, the other not`)
    idle.destroy()
    slow.destroy()
  }
})

t.test('a body arrives whole, whatever its size', async (t) => {
  for (const size of [1, MIB - 1, MIB, MIB + 1, 5 * MIB, 24 * MIB]) {
    const part = bytes.subarray(0, size)
    for (const [from, way] of Object.entries(await ways(t, part))) {
      const { port, sent } = await serving(t, way, sha256(part))
      for (let time = 1; time <= 2; time++) {
        const got = Buffer.from(await (await fetch(`http://127.0.0.1:${port}/`)).arrayBuffer())
        t.ok(got.equals(part), `${size} bytes ${from}`)
      }
      // The client has it all before we have heard so.
      while (sent.length < 2) await sleep(5)
      t.same(sent, Array(2).fill({ bytes: size, whole: true }))
    }
  }
})

t.test('kernel and ramdisk are sent as they were at start, whatever is put in their place', async (t) => {
  const dir = t.testdir({ kernel: 'the kernel', ramdisk: 'the ramdisk' })
  const files = await openBootFiles({
    x86_64: { kernel: join(dir, 'kernel'), ramdisk: join(dir, 'ramdisk') }
  })
  t.teardown(() => files.close())
  writeFileSync(join(dir, 'kernel'), 'another one')
  const { kernel } = files.ramdisks.x86_64!
  t.equal(kernel.sha256, sha256(Buffer.from('the kernel')))
  const { port } = await serving(t, { content: kernel.content, bodies }, kernel.sha256)
  t.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'the kernel')
})
