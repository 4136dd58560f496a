// The watch with its real times: how long other servers go unnoticed, and how long they are remembered.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { WATCH_TIMES } from '../../../src/decide/dhcp-watch.ts'
import { aLan, dnsmasq, foreign, linkOf, watching } from './watch-lan.ts'

t.jobs = 2
const times = WATCH_TIMES

/** How long that takes, s. */
async function seconds(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now()
  await work()
  return Math.round((performance.now() - from) / 100) / 10
}

t.test(
  'a server that comes at the worst moment is found within 30 s, and forgotten within 60 s',
  async (t) => {
    const [, us, other] = await aLan(t)
    const watch = await watching(t, us, { times })
    await watch.says('status', { state: 'alone' })
    // The third probe has just been sent; the server pings for three seconds before it answers the fourth.
    await sleep(times.second + times.every - times.start + 500)
    const server = await dnsmasq(t, other, '--dhcp-range=192.0.2.50,192.0.2.60,1h')
    const found = await seconds(() => watch.says('status', { state: 'foreign' }, 60))
    const gone = await seconds(async () => {
      await server.stop()
      await watch.says('status', { state: 'alone' }, 120)
    })
    t.comment(`found after ${found} s, forgotten after ${gone} s`)
    t.ok(found <= 30, `${found} s`)
    t.ok(gone <= 60, `${gone} s`)
  }
)

t.test(
  'a second Seedling finds the first within 30 s, and serves within 60 s after it is gone',
  async (t) => {
    const [, us, other] = await aLan(t)
    const first = await watching(t, other, { link: linkOf(2), serves: true, times })
    await first.says('status', { state: 'alone' })
    const second = await watching(t, us, { serves: true, times })
    const found = await seconds(() => foreign(second))
    const gone = await seconds(async () => {
      await first.stop()
      await second.says('status', { state: 'alone' }, 120)
    })
    t.comment(`found after ${found} s, serves after ${gone} s`)
    t.ok(found <= 30, `${found} s`)
    t.ok(gone <= 60, `${gone} s`)
  }
)
