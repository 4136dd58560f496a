import dgram from 'node:dgram'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { loadNative } from '../../services/native-sockets.ts'
import { macToBytes, type Mac } from '../../src/wire/address.ts'
import { encodeDhcp } from '../../src/wire/dhcp.ts'
import { notOurOwn, strangersByLot } from '../../src/wire/socket-filter.ts'
import { aRequest } from '../support/dhcp.ts'

const MOST_INSTRUCTIONS = 4096
const packet = encodeDhcp(aRequest({ options: { messageType: 'discover' } }))
const from = (mac: Mac): Buffer => {
  const bytes = Buffer.from(packet)
  macToBytes(mac).copy(bytes, 28)
  return bytes
}
const hex = (value: number) => value.toString(16).padStart(8, '0')
const mac = (vendor: string, end: number): Mac => (vendor + hex(end)).replace(/..(?!$)/g, '$&:')
/** Numbers all over 32 bits, the same in every run. */
const spread = (index: number) => Math.imul(index + 1, 0x9e3779b1) >>> 0

/** Machines of five makers, whose numbers are each maker's own series. */
const series = (index: number) => ((index % 5) + 1) * 0x31000000 + index * 7

/** A socket of the kernel's own, whose filter can be set; `through`: how many of these datagrams came in. */
async function aFilteredSocket(t: Test) {
  const native = await loadNative()
  if (!native) throw new Error('koffi is missing')
  const [all, own] = native.openPair({ interface: 'lo', address: '127.0.0.1' }, 6767, false)
  const sockets = [all, own].map(() => dgram.createSocket('udp4'))
  const sender = dgram.createSocket('udp4')
  t.teardown(() => [...sockets, sender].forEach((socket) => socket.close()))
  for (const [index, fd] of [all, own].entries())
    await new Promise<void>((bound) => sockets[index]!.bind({ fd }, bound))
  sockets[1]!.setRecvBufferSize(8 * 1024 * 1024)
  let received = 0
  for (const socket of sockets) socket.on('message', () => received++)
  return {
    filter: (program: Buffer | null) => native.filter(own, program),
    async through(datagrams: readonly Buffer[]): Promise<number> {
      received = 0
      for (let at = 0; at < datagrams.length; at += 100) {
        const some = datagrams.slice(at, at + 100)
        await Promise.all(
          some.map((bytes) => new Promise((sent) => sender.send(bytes, 6767, '127.0.0.1', sent)))
        )
        await sleep(1)
      }
      await sleep(50)
      return received
    }
  }
}

t.test('enrolled machines come through, strangers by lot', async (t) => {
  const { filter, through } = await aFilteredSocket(t)
  const strangers = Array.from({ length: 500 }, (_, index) => from(mac('0a00', spread(index + 1_000_000))))
  for (const count of [0, 1, 2, 64, 65, 129, 1000, 3500, 3501, 20_000]) {
    const macs = Array.from({ length: count }, (_, index) => mac('5254', series(index)))
    const program = strangersByLot(macs, 0)
    t.ok(
      program.length / 8 <= MOST_INSTRUCTIONS,
      `${count}: the kernel takes ${program.length / 8} instructions`
    )
    filter(program)
    const some = macs.filter((_, index) => index % Math.ceil(count / 300) === 0 || index === count - 1)
    t.equal(await through(some.map(from)), some.length, `${count}: all of them`)
    t.equal(await through(strangers), 0, `${count}: no stranger`)
  }
  const neighbours = Array.from({ length: 200 }, (_, index) => mac('5254', 0x80000000 + index * 2))
  filter(strangersByLot(neighbours, 0))
  t.equal(await through(neighbours.map((one) => from(one))), 200, 'numbers of one series')
  t.equal(await through(neighbours.map((one) => from(one.replace(/.$/, (d) => (parseInt(d, 16) + 1).toString(16))))), 0) // prettier-ignore
  t.equal(await through([packet.subarray(0, 20), Buffer.alloc(0)]), 0, 'what is too short to tell')

  filter(strangersByLot([mac('5254', 1)], 0.25))
  const many = Array<Buffer>(4000).fill(strangers[0]!)
  const share = (await through(many)) / many.length
  t.ok(share > 0.2 && share < 0.3, `a quarter of strangers: ${share}`)
  t.equal(await through(Array<Buffer>(400).fill(from(mac('5254', 1)))), 400)
  filter(strangersByLot([], 1))
  t.equal(await through(strangers), strangers.length, 'all of them')
  filter(strangersByLot([], 0))
  filter(null)
  t.equal(await through(strangers), strangers.length, 'without a filter')
})

t.test("other machines' packets are not our own broadcasts", async (t) => {
  const { filter, through } = await aFilteredSocket(t)
  filter(notOurOwn())
  t.equal(await through([packet, Buffer.alloc(0)]), 2)
})
