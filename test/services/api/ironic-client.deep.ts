// Ironic's own, unmodified client against Seedling (Debian: python3-ironicclient, python3-openstackclient). Run with
// `npx tap test/services/api/ironic-client.deep.ts`.

import { execFile } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startApi } from '../../../services/api/server.ts'
import { anImage } from '../../support/builders.ts'
import { someDeps } from './api-under-test.ts'

const CLIENT = '/usr/bin/baremetal'
if (!existsSync(CLIENT))
  throw new Error('install the client first: apt-get install python3-ironicclient python3-openstackclient')

const PORT = 16385

t.test('the client does its work', { timeout: 300_000 }, async (t) => {
  const bench = someDeps({ api: { socket: 'api.sock', address: '127.0.0.1', port: PORT } })
  // What is ordered is done at once: the conductor has tests of its own.
  const { facts } = bench.deps
  const LEAVES: Record<string, 'manageable' | 'active' | 'available'> = {
    manage: 'manageable',
    deploy: 'active',
    undeploy: 'available'
  }
  bench.deps.wake = () =>
    setTimeout(() => {
      for (const order of facts.openOrders()) {
        const node = facts.nodeByUuid(order.nodeUuid)
        if (node)
          bench.change([
            { put: 'order', row: { ...order, state: 'done', finishedAt: Date.now() } },
            { put: 'node', row: { ...node, state: LEAVES[order.kind] ?? node.state, powerState: 'off' } }
          ])
      }
    }, 100)
  const api = await startApi(bench.deps)
  t.teardown(async () => {
    await api.close()
    bench.remove()
  })
  bench.change([{ put: 'image', row: anImage() }])
  const { readFileSync } = await import('node:fs')
  const token = readFileSync(join(bench.deps.config.dataDir, 'api-token'), 'utf8').trim()
  const file = join(bench.folder, 'nodes.json')
  writeFileSync(
    file,
    JSON.stringify({
      nodes: [
        {
          name: 'from-file',
          driver: 'ipmi',
          driver_info: { ipmi_address: '127.0.0.3' },
          ports: [{ address: '52:54:00:00:00:03', pxe_enabled: true }]
        }
      ]
    })
  )
  const run = (line: string): Promise<{ code: number; text: string }> =>
    new Promise((resolve) =>
      execFile(
        CLIENT,
        [
          '--os-auth-type',
          'admin_token',
          '--os-endpoint',
          `http://127.0.0.1:${PORT}`,
          '--os-token',
          token,
          ...line.split(' ')
        ],
        { env: { PATH: '/usr/bin:/bin' } },
        (error, out, err) => resolve({ code: error ? 1 : 0, text: out + err })
      )
    )
  const steps: [string, number, RegExp][] = [
    ['driver list', 0, /ipmi +\| seedling/],
    ['driver show ipmi', 0, /default_deploy_interface +\| direct/],
    ['driver property list ipmi', 0, /ipmi_address/],
    [
      'node create --driver ipmi --name c1 --driver-info ipmi_address=127.0.0.2 --driver-info ipmi_password=secret --property capabilities=boot_mode:uefi',
      0,
      /\| uuid/
    ],
    ['node create --driver nope', 1, /"nope" is not supported/],
    [`create ${file}`, 0, /^$/],
    ['node list', 0, /from-file[\s\S]*enroll|c1[\s\S]*enroll/],
    ['node list --long', 0, /127\.0\.0\.3/],
    ['node list --fields name provision_state', 0, /c1/],
    ['node show c1', 0, /\*{6}/],
    ['node show nobody', 1, /could not be found/],
    ['node set c1 --property cpus=8 --extra rack=r1', 0, /^$/],
    ['node unset c1 --extra rack', 0, /^$/],
    ['node unset c1 --extra rack', 1, /there is no "rack"/],
    ['node validate c1', 0, /boot +\| False/],
    ['port list', 0, /52:54:00:00:00:03/],
    ['port list --node from-file --long', 0, /52:54:00:00:00:03/],
    ['node manage from-file --wait 30', 0, /^(Waiting.*\s*)?/],
    ['node provide from-file --wait 30', 0, /^(Waiting.*\s*)?/],
    ['node set from-file --instance-info image_source=tiny', 0, /^$/],
    [
      'node deploy from-file --wait 30 --config-drive {"meta_data":{"hostname":"h1"},"user_data":"#cloud-config"}',
      0,
      /^(Waiting.*\s*)?/
    ],
    ['node show from-file --fields provision_state instance_info', 0, /active/],
    ['node deploy from-file', 1, /not possible for node from-file in state "active"/],
    ['node delete from-file', 1, /cannot be deleted in state "active"/],
    ['node power on from-file', 0, /^$/],
    ['node reboot from-file', 0, /^$/],
    ['node power off --soft from-file', 0, /^$/],
    ['node undeploy from-file --wait 30', 0, /^(Waiting.*\s*)?/],
    ['node maintenance set from-file --reason fan', 0, /^$/],
    ['node maintenance unset from-file', 0, /^$/],
    ['node delete from-file c1', 0, /Deleted node/]
  ]
  for (const [line, code, text] of steps) {
    const answer = await run(line)
    t.equal(answer.code, code, `${line}: ${answer.text}`)
    t.match(answer.text, text, line)
  }
  t.equal(facts.nodes().length, 0)
})
