// The link and what becomes of sockets on it, in namespaces.

import { once } from 'node:events'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { linkMac, linkStatus } from '../../services/link.ts'
import { addNamespace, connect, type Namespace } from '../support/namespace.ts'
import { startScript, type Script } from '../support/script.ts'

const FILE = join(import.meta.dirname, 'link-host.ts')
const LINK = { interface: 'lan', address: '192.0.2.1' }

t.test('a link that is not there', async (t) => {
  t.same(linkStatus({ ...LINK, interface: 'lan7' }), {
    index: null,
    present: false,
    up: false,
    addressOk: false
  })
  t.equal(linkMac('lan7'), undefined)
})

t.test('the loopback', async (t) => {
  t.match(linkStatus({ interface: 'lo', address: '127.0.0.1' }), { present: true, up: true, addressOk: true })
  t.match(linkStatus({ interface: 'lo', address: '192.0.2.1' }), { up: true, addressOk: false })
})

/** A cable with the host's end up and addressed. */
async function plug(host: Namespace, far: Namespace): Promise<void> {
  await connect([host, 'lan'], [far, 'eth0'])
  await host.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'lan')
  await far.run('ip', 'address', 'add', '192.0.2.9/24', 'dev', 'eth0')
}

/** Broadcasts to port 67; the host has to hear it. */
async function hears(t: Test, script: Script, far: Namespace, text: string, seconds = 10): Promise<void> {
  const program = `const socket = require('dgram').createSocket('udp4')
    socket.bind(0, '192.0.2.9', () => { socket.setBroadcast(true)
      socket.send('${text}', 67, '255.255.255.255', () => socket.close()) })`
  const child = far.spawn(process.execPath, ['-e', program])
  await once(child, 'close')
  t.match(await script.says('heard', { text }, seconds), { from: '192.0.2.9' }, text)
}

/** Broadcasts from the host's own address; the kernel has to say this. */
async function sends(script: Script, error: string | null): Promise<void> {
  script.tell('send')
  await script.says('sent', { error })
}

t.test('what befalls a link, and the sockets on it', async (t) => {
  const host = await addNamespace('host')
  const far = await addNamespace('far')
  t.teardown(() => Promise.all([host.remove(), far.remove()]))
  await plug(host, far)
  const script = await startScript(host, FILE, { ...LINK, everyMs: 100 })
  t.teardown(() => script.stop())
  const first = await script.says('link', { present: true, up: true, addressOk: true })
  await hears(t, script, far, 'at first')

  const set = (...args: string[]) => host.run('ip', 'link', 'set', 'lan', ...args)
  for (let flaps = 0; flaps < 20; flaps++) {
    await set('down')
    await set('up')
  }
  await script.says('link', { index: first['index'], up: true, addressOk: true })
  await hears(t, script, far, 'after twenty flaps')
  await sends(script, null)

  await set('down')
  await script.says('link', { present: true, up: false, addressOk: false })
  await sends(script, 'ENETUNREACH')
  await set('up')
  await script.says('link', { up: true, addressOk: true })
  await hears(t, script, far, 'after it was down')

  await far.run('ip', 'link', 'set', 'eth0', 'down')
  await script.says('link', { present: true, up: false })
  await far.run('ip', 'link', 'set', 'eth0', 'up')
  await script.says('link', { up: true, addressOk: true })
  await hears(t, script, far, 'after the cable was out')

  await host.run('ip', 'address', 'del', '192.0.2.1/24', 'dev', 'lan')
  await script.says('link', { up: true, addressOk: false })
  await host.run('ip', 'address', 'add', '192.0.2.7/24', 'dev', 'lan')
  await sends(script, 'ENETUNREACH')
  t.pass('nothing leaves with another address as its source')
  await host.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'lan')
  await script.says('link', { addressOk: true })
  await sends(script, null)
  await hears(t, script, far, 'with its address back')

  await host.run('ip', 'link', 'del', 'lan')
  await script.says('link', { index: null, present: false, up: false, addressOk: false })
  await plug(host, far)
  await script.says('link', { present: true, up: true, addressOk: true })
  t.not(script.log.findLast(({ msg }) => msg === 'link')?.['index'], first['index'])
  await t.rejects(hears(t, script, far, 'with the old sockets', 1), 'they are lost with the link')
  script.tell('open')
  await script.says('opened')
  await hears(t, script, far, 'with new sockets')
})

t.test('a link that is replaced between two looks', async (t) => {
  const host = await addNamespace('host')
  const far = await addNamespace('far')
  t.teardown(() => Promise.all([host.remove(), far.remove()]))
  await plug(host, far)
  const script = await startScript(host, FILE, { ...LINK, everyMs: 3000 })
  t.teardown(() => script.stop())
  const { index } = await script.says('link')
  await host.run('ip', 'link', 'del', 'lan')
  await plug(host, far)
  t.match(await script.says('link', { before: index }), { present: true, up: true, addressOk: true })
})
