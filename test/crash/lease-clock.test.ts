// The wall clock jumps, and no lease ends before its time: nor after it, for the next in line. libfaketime moves the server's wall clock
// and leaves its monotonic clock alone.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import type { Serve } from '../services/dhcp/serve.ts'
import { serveIn } from '../services/dhcp/serving.ts'
import { crowdIn } from './crowding.ts'
import { addRoom, RELAY, served, SERVER } from './room.ts'

const ADDRESSES = 4
const LEASE_SECONDS = 20

/**
 * Clients take all addresses there are, the clock jumps, and newcomers ask for them. `left`: ms that the leases still had when these
 * began; `inherited`: how many addresses they got when the leases were over, `breaches`: and which before; `ahead`: ms by which
 * the server's wall clock was at the end.
 */
async function jump(t: Test, by: string, when: 'run' | 'restart', sabotage?: Serve['sabotage']) {
  const { host, site } = await addRoom(t)
  const dataDir = t.testdir()
  const offset = join(dataDir, 'offset')
  writeFileSync(offset, '+0')
  const faked = [
    'env',
    'LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1',
    `FAKETIME_TIMESTAMP_FILE=${offset}`,
    'FAKETIME_NO_CACHE=1',
    'FAKETIME_DONT_FAKE_MONOTONIC=1'
  ]
  const given = { ...served(ADDRESSES, LEASE_SECONDS), dataDir, ...(sabotage && { sabotage }) }
  const start = () => serveIn(host, given, { wrap: faked })
  const crowd = crowdIn(site, { server: SERVER, relay: RELAY, enrolled: 0, leases: ADDRESSES, seed: 1 })
  let server = await inTurn(start)
  await crowd('fill')
  if (when === 'restart') await server.kill()
  writeFileSync(offset, by)
  if (when === 'restart') server = await start()
  const left = await crowd('inherit', ADDRESSES)
  await server.stop()
  const db = new Database(join(dataDir, 'seedling.db'), { readonly: true })
  const latest = db.prepare('SELECT max(updated_at) FROM lease').pluck().get() as number
  db.close()
  return { left, ahead: latest - Date.now(), ...(await crowd('tell')) }
}

let starting: Promise<unknown> = Promise.resolve()

/** Nine servers that start at once keep each other from it. */
function inTurn<T>(start: () => Promise<T>): Promise<T> {
  const started = starting.then(start)
  starting = started.catch(() => {})
  return started
}

const HOUR = 3_600_000
const JUMPS: Record<string, [offset: string, milliseconds: number]> = {
  'an hour ahead': ['+1h', HOUR],
  'an hour back': ['-1h', -HOUR],
  'ten years ahead': ['+10y', 87_600 * HOUR],
  'ten years back': ['-10y', -87_600 * HOUR]
}

// They mostly wait.
t.jobs = 9

for (const when of ['run', 'restart'] as const)
  for (const [sentence, [by, milliseconds]] of Object.entries(JUMPS))
    t.test(`${sentence}, during a ${when}`, async (t) => {
      const { left, ahead, inherited, breaches } = await jump(t, by, when)
      t.ok(Math.abs(ahead / milliseconds - 1) < 0.1, 'the clock did jump')
      t.ok(left > 0, `and the leases had ${Math.round(left)} ms left`)
      t.same(breaches, [], 'none ended too early')
      t.equal(inherited, ADDRESSES, 'and all ended')
    })

t.test('leases that end by the wall clock would be seen', async (t) => {
  const { breaches } = await jump(t, '+1h', 'run', 'wall-clock')
  t.ok(breaches.length > 0, `${breaches.length} addresses were promised to two`)
})
