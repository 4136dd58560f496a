// The reference BMC and our codecs against the tool that every operator has.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import type { FakeBmc } from '../../support/fake-bmc.ts'
import { fake } from './started.ts'

const run = promisify(execFile)

async function ipmitool(bmc: FakeBmc, suite: number, ...args: string[]): Promise<string> {
  const { address, port, username, password } = bmc.access()
  const target = [
    '-I',
    'lanplus',
    '-H',
    address,
    '-p',
    String(port),
    '-U',
    username,
    '-E',
    '-C',
    String(suite)
  ]
  // -N 1 -R 3: a second before it tries again, three times.
  const options = { env: { ...process.env, IPMI_PASSWORD: password } }
  const { stdout } = await run('ipmitool', [...target, '-N', '1', '-R', '3', ...args], options)
  return stdout
}

for (const suite of [17, 3]) {
  t.test(`ipmitool -C ${suite} works with the reference BMC`, async (t) => {
    const bmc = await fake(t, { suites: [suite] })
    t.match(await ipmitool(bmc, suite, 'chassis', 'power', 'status'), 'Chassis Power is off')
    await ipmitool(bmc, suite, 'chassis', 'power', 'on')
    t.equal(bmc.power, 'on')
    await ipmitool(bmc, suite, 'chassis', 'bootdev', 'pxe', 'options=persistent,efiboot')
    t.same(bmc.boot, { valid: true, persistent: true, efi: true, device: 1 })
    const parameter = await ipmitool(bmc, suite, 'chassis', 'bootparam', 'get', '5')
    t.match(parameter, 'Boot parameter data: e004000000')
    t.match(await ipmitool(bmc, suite, 'mc', 'guid'), /System GUID/)
    t.equal(bmc.sessions(), 0)
  })
}
