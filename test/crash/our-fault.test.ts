// A fault of our own in each handler, as if the program were wrong there: it is logged, and whoever cannot say what state it is in ends the
// process; the next one serves. A request that failed as a whole, by HTTP, is answered with 500 and changed nothing.

import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { aNode, aPort } from '../support/builders.ts'
import { aHostAndRoom, ask, fill, serve } from '../support/served.ts'

const MAC = '52:54:00:00:01:00'

/** Loaded before Seedling: while FAULT is there, no row can be read. */
const wrong = (fault: string) => `
  import { existsSync } from 'node:fs'
  import { createRequire } from 'node:module'
  const Database = createRequire(${JSON.stringify(join(import.meta.dirname, 'x.js'))})('better-sqlite3')
  const statement = Object.getPrototypeOf(new Database(':memory:').prepare('SELECT 1'))
  for (const name of ['get', 'all']) {
    const right = statement[name]
    statement[name] = function (...args) {
      if (existsSync(${JSON.stringify(fault)})) throw new Error('something that cannot be')
      return right.apply(this, args)
    }
  }`

t.test('a fault in a handler', { timeout: 120_000 }, async (t) => {
  const { host, room, folder, root } = await aHostAndRoom(t, MAC)
  const node = aNode({ state: 'manageable' })
  fill(folder, [
    { put: 'node', row: node },
    { put: 'port', row: aPort({ nodeUuid: node.uuid, address: MAC, reservedIp: '192.0.2.100' }) }
  ])
  const fault = join(root, 'fault')
  const preload = join(root, 'wrong.mjs')
  writeFileSync(preload, wrong(fault))
  const start = async (t: Test) => {
    const served = serve(t, host, folder, { NODE_OPTIONS: `--import=${preload}` })
    await served.serves()
    return served
  }
  const lease = () => room.run('udhcpc', '-f', '-n', '-q', '-i', 'eth0', '-s', '/bin/true', '-t', '3')
  const page = () =>
    room.run('curl', '-s', '-m', '5', '-o', '/dev/null', '-w', '%{http_code}', 'http://192.0.2.1/boot/script')

  await t.test('DHCP, TFTP: the process ends and says why', async (t) => {
    await room.run('ip', 'address', 'add', '192.0.2.100/24', 'dev', 'eth0')
    for (const provoke of [
      () => room.run('udhcpc', '-f', '-n', '-q', '-i', 'eth0', '-s', '/bin/true', '-t', '1', '-T', '1'),
      () => room.run('curl', '-s', '-m', '1', 'tftp://192.0.2.1/undionly.kpxe')
    ]) {
      const served = await start(t)
      await t.resolves(lease(), 'it serves')
      writeFileSync(fault, '')
      await t.rejects(provoke())
      const { code, said } = await served.ended
      rmSync(fault)
      t.equal(code, 1)
      const last = said.split('\n').find((line) => line.includes('"level":60')) ?? '{}'
      t.match(JSON.parse(last), { err: { message: 'something that cannot be', stack: /services\// } })
    }
  })

  await t.test('HTTP, for machines and operators: 500, and it goes on', async (t) => {
    const served = await start(t)
    await t.resolves(lease(), 'after the faults it serves as before')
    const before = await page()
    writeFileSync(fault, '')
    t.equal(await page(), '500')
    const told = await ask(folder, 'node', 'list').catch(({ stderr }: { stderr: string }) => stderr)
    t.match(told, /met an error of its own; its log has the details/)
    rmSync(fault)
    t.equal(await page(), before)
    t.match(await ask(folder, 'node', 'list'), node.name as string)
    served.stop()
    const { code, said } = await served.ended
    t.equal(code, 0, 'it was the same process, to its orderly end')
    t.match(said, /http: our fault/)
  })
})
