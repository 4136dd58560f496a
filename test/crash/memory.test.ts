// Memory runs out where Seedling runs: the kernel ends it, whoever watches over it starts it again, and all goes on as it was.

import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { aNode, aPort } from '../support/builders.ts'
import { run } from '../support/namespace.ts'
import { aHostAndRoom, ask, fill, serve } from '../support/served.ts'

const MAC = '52:54:00:00:01:00'
const MIB = 2 ** 20
/** For all that runs in the group, as in a small virtual machine. */
const MOST = 512 * MIB

/** Takes all there is and more. */
const GREEDY = `
  const taken = []
  const take = () => { taken.push(Buffer.alloc(16 * ${MIB}, 1)); setTimeout(take, 10) }
  process.stdin.once('data', take)`

t.test('out of memory', { timeout: 120_000 }, async (t) => {
  const group = join('/sys/fs/cgroup/memory', `seedling-test-${process.pid}`)
  mkdirSync(group)
  t.teardown(async () => {
    while (readFileSync(join(group, 'tasks'), 'utf8')) await sleep(20)
    rmdirSync(group)
  })
  writeFileSync(join(group, 'memory.limit_in_bytes'), String(MOST))
  const put = (pid: string) => writeFileSync(join(group, 'cgroup.procs'), pid)
  const ended = () =>
    Number(/^oom_kill (\d+)/m.exec(readFileSync(join(group, 'memory.oom_control'), 'utf8'))?.[1])

  const { host, room, folder } = await aHostAndRoom(t, MAC)
  const node = aNode({ state: 'manageable' })
  fill(folder, [
    { put: 'node', row: node },
    { put: 'port', row: aPort({ nodeUuid: node.uuid, address: MAC, reservedIp: '192.0.2.100' }) }
  ])
  const lease = () =>
    room.run('udhcpc', '-f', '-n', '-q', '-i', 'eth0', '-s', '/bin/true', '-t', '20', '-T', '1')
  const first = serve(t, host, folder)
  await first.serves()
  await lease()
  const before = JSON.parse(await ask(folder, 'node', 'show', node.uuid, '--json')) as object
  t.equal(ended(), 0)

  const pid = (await run('ip', 'netns', 'pids', host.name)).trim()
  put(pid)
  // It is to be the one that the kernel ends, not the greedy one.
  writeFileSync(`/proc/${pid}/oom_score_adj`, '1000')
  const greedy = spawn(process.execPath, ['-e', GREEDY], { stdio: ['pipe', 'ignore', 'inherit'] })
  t.teardown(() => greedy.kill('SIGKILL'))
  put(String(greedy.pid))
  greedy.stdin.write('now')
  const { code } = await first.ended
  t.equal(code, null, 'it was not asked')
  t.ok(ended() >= 1, 'the kernel ended it')
  greedy.kill('SIGKILL')
  const began = performance.now()
  // As systemd does: Restart=always, RestartSec=1.
  await sleep(1000)
  const second = serve(t, host, folder)
  await t.resolves(lease(), 'who had an address has it again')
  t.comment(`${Math.round(performance.now() - began)} ms from its end to the next lease`)
  await second.serves()
  t.same(JSON.parse(await ask(folder, 'node', 'show', node.uuid, '--json')), before, 'nothing is lost')
  second.stop()
  t.equal((await second.ended).code, 0)
})
