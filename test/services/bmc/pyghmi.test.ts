// The driver against pyghmi's server classes: SHA-256 by somebody else.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { SESSION_TIMING } from '../../../src/decide/bmc-session-state.ts'
import type { BmcAccess } from '../../../src/domain/bmc.ts'
import { freePort } from './ipmi-sim.ts'
import { failureOf, NODE, started } from './started.ts'

async function pyghmi(t: Test, suite: number, kg = ''): Promise<BmcAccess> {
  const port = await freePort()
  const file = new URL('pyghmi-bmc.py', import.meta.url).pathname
  // Debian's Python, for which the package is.
  const child = spawn('/usr/bin/python3', [file, String(port), String(suite), ...(kg ? [kg] : [])], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  await once(child.stdout, 'data')
  return {
    ...{ driver: 'ipmi', address: '127.0.0.1', port, username: 'admin', password: 'secret123' },
    ...{ protocol: '2.0', cipherSuites: [17, 3], kg, privilege: 'highest', loginQuirk: null }
  }
}

for (const suite of [17, 3]) {
  t.test(`pyghmi's BMC, suite ${suite}`, async (t) => {
    const access = await pyghmi(t, suite)
    const bmcs = started(t, { timing: SESSION_TIMING, operation: 20_000 })
    const { powerState, powerOn, powerOff, setBootDevice } = bmcs.bmc(NODE, access)
    t.equal(await powerState(), 'off')
    await powerOn()
    t.equal(await powerState(), 'on')
    await powerOff()
    t.equal(await powerState(), 'off')
    const pxe = { device: 'pxe', persistent: false, efi: true, valid: true } as const
    t.same(await setBootDevice('pxe', pxe), pxe, 'although it knows no boot parameter but 5')
  })
}

t.test("pyghmi's BMC says no", async (t) => {
  const access = await pyghmi(t, 17, 'c0ffee')
  const bmcs = started(t, { timing: SESSION_TIMING, operation: 10_000 })
  t.equal(await bmcs.bmc(NODE, access).powerState(), 'off', 'with the BMC key')
  for (const [changes, code, detail] of [
    [{ password: 'wrong' }, 'bmc-auth', { reason: 'password' }],
    [{ username: 'nobody' }, 'bmc-auth', { reason: 'username' }],
    [{ kg: '' }, 'bmc-auth', { reason: 'kg' }],
    [{ cipherSuites: [3] }, 'bmc-cipher', { refusals: [{ suite: 3, status: 0x11 }] }]
  ] as const) {
    const changed = { ...access, ...changes }
    const error = await failureOf(bmcs.bmc(NODE, changed).powerState(), changed)
    t.match(error, { code, detail })
  }
})
