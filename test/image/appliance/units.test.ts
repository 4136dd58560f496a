// The appliance's files, as far as they can be looked at without building it (test/e2e/appliance.deep.ts runs it).

import { spawnSync } from 'node:child_process'
import { globSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '../../..')
const run = (program: string, ...args: string[]) => spawnSync(program, args, { encoding: 'utf8' })

t.test('the service is exposed by 2.0 at most', async (t) => {
  const unit = join(root, 'systemd/seedling.service')
  const security = (file: string) =>
    run('systemd-analyze', 'security', '--offline=true', '--threshold=20', '--no-pager', file)
  const { status, stdout, stderr } = security(unit)
  t.equal(status, 0, [...stdout.split('\n').filter((line) => !line.startsWith('✓')), stderr].join('\n'))
  const plain = join(
    t.testdir({ 'seedling.service': '[Service]\nExecStart=/bin/true\n' }),
    'seedling.service'
  )
  t.not(security(plain).status, 0, 'one without that hardening is told from it')
})

t.test('no socket is heard on another link', async (t) => {
  const sockets = globSync('systemd/*.socket', { cwd: root })
  t.ok(sockets.length >= 5)
  for (const file of sockets) t.match(readFileSync(join(root, file), 'utf8'), /^BindToDevice=eth1$/m, file)
})

t.test('scripts and menu can be read by those who will', async (t) => {
  const files = join(root, 'image/appliance/files')
  const scripts = globSync(['usr/lib/seedling/*', 'usr/sbin/*'], { cwd: files })
  t.ok(scripts.length >= 5)
  for (const script of scripts) {
    const path = join(files, script)
    t.equal(run('sh', '-n', path).stderr, '', script)
    t.ok((statSync(path).mode & 0o111) === 0o111, `${script} can be run`)
  }
  t.equal(run('grub-script-check', join(root, 'image/appliance/grub.cfg')).stderr, '')
})

t.test("GRUB's environment block is one", async (t) => {
  const program = join(root, 'image/appliance/files/usr/lib/seedling/grub-env')
  const { stdout } = run(program, 'slot=a', 'try=b')
  t.equal(Buffer.byteLength(stdout), 1024)
  const file = join(t.testdir({ grubenv: stdout }), 'grubenv')
  t.equal(run('grub-editenv', file, 'list').stdout, 'slot=a\ntry=b\n')
})
