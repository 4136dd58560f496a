// There are few descriptors, and machines that have gone mad open connections for ever: the process keeps what it needs for itself, DHCP and the
// operator are answered, and when the others are gone everybody is.

import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { aNode, aPort } from '../support/builders.ts'
import { run } from '../support/namespace.ts'
import { aHostAndRoom, ask, fill, serve } from '../support/served.ts'

/** In the hundreds of a usual host nobody would come near it. */
const MOST_DESCRIPTORS = 128
const MAC = '52:54:00:00:01:00'
/** Each may have 32 connections. */
const MAD = Array.from({ length: 8 }, (_, index) => `192.0.2.${110 + index}`)

/** Opens connections, and another for each that is closed. */
const CLIENT = `
  const { connect } = require('node:net')
  const another = (localAddress) => {
    const socket = connect({ host: '192.0.2.1', port: 80, localAddress })
    socket.on('error', () => {}).on('close', () => setTimeout(another, 200, localAddress))
  }
  for (const address of ${JSON.stringify(MAD)}) for (let n = 0; n < 30; n++) another(address)
  console.log('begun')`

t.test('descriptors', { timeout: 120_000 }, async (t) => {
  const { host, room, folder } = await aHostAndRoom(t, MAC)
  for (const address of MAD) await room.run('ip', 'address', 'add', `${address}/24`, 'dev', 'eth0')
  const node = aNode({ state: 'manageable' })
  fill(folder, [
    { put: 'node', row: node },
    { put: 'port', row: aPort({ nodeUuid: node.uuid, address: MAC, reservedIp: '192.0.2.100' }) }
  ])
  const served = serve(t, host, folder, {}, ['prlimit', `--nofile=${MOST_DESCRIPTORS}`])
  await served.serves()
  const pid = (await run('ip', 'netns', 'pids', host.name)).trim()
  t.match(pid, /^\d+$/, 'one process')

  const lease = () => room.run('udhcpc', '-f', '-n', '-q', '-i', 'eth0', '-s', '/bin/true', '-t', '5')
  const used = async () => (await run('ls', `/proc/${pid}/fd`)).trim().split('\n').length
  const health = () => ask(folder, 'health').catch(({ stdout }: { stdout: string }) => stdout)
  const page = () =>
    room.run('curl', '-s', '-m', '2', '-o', '/dev/null', '-w', '%{http_code}', 'http://192.0.2.1/none')
  await lease()
  t.equal(await page(), '404')

  const mad = room.spawn(process.execPath, ['-e', CLIENT])
  await once(mad.stdout as NodeJS.ReadableStream, 'data')
  await sleep(2000)
  for (let times = 0; times < 3; times++) {
    await t.resolves(lease(), 'an address is given')
    t.match(await health(), /ok +database/, 'the operator is answered')
    const count = await used()
    t.ok(count < MOST_DESCRIPTORS - 20, `${count} descriptors in use`)
  }
  t.equal((await run('ip', 'netns', 'pids', host.name)).trim(), pid, 'it is the same process')

  mad.kill('SIGKILL')
  await once(mad, 'close')
  let answer = ''
  for (let tries = 0; answer !== '404' && tries < 20; tries++, await sleep(500))
    answer = await page().catch(() => '')
  t.equal(answer, '404', 'machines are served again')
})
