// The disk fails once, in the middle of a commit: nothing is acknowledged, the process ends with a sentence, and the next start is sound.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { addNamespace } from '../support/namespace.ts'
import { aFolder, ask, serve } from '../support/served.ts'

/** fsync and fdatasync of the database fail with EIO when the file that FAIL_SYNC names is there, and take it away. */
const SHIM = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int fails(int fd) {
  const char *file = getenv("FAIL_SYNC");
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  path[length < 0 ? 0 : length] = 0;
  if (!file || !strstr(path, "seedling.db") || unlink(file) != 0) return 0;
  errno = EIO;
  return 1;
}
int fsync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  return fails(fd) ? -1 : real(fd);
}
int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  return fails(fd) ? -1 : real(fd);
}
`

t.setTimeout(120_000)

t.test('a sync that fails once', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'disk-error-'))
  t.teardown(() => rmSync(root, { recursive: true }))
  const host = await addNamespace('host')
  t.teardown(() => host.remove())
  await host.run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'peer0')
  await host.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'eth0')
  for (const link of ['eth0', 'peer0']) await host.run('ip', 'link', 'set', link, 'up')
  const folder = aFolder(root, 'one', '192.0.2.1')
  const [source, shim, fail] = ['shim.c', 'shim.so', 'fail'].map((name) => join(root, name)) as [
    string,
    string,
    string
  ]
  writeFileSync(source, SHIM)
  execFileSync('tcc', ['-shared', '-o', shim, source, '-ldl'])
  const key = (name: string) => {
    const file = join(root, `${name}.pub`)
    writeFileSync(
      file,
      'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUZYDkFcGEdZqqtM9SrxCHsZmcrIQCnQ5yq0wTAVuZ2 me\n'
    )
    return ask(folder, 'keypair', 'add', name, file)
  }

  const broken = serve(t, host, folder, { LD_PRELOAD: shim, FAIL_SYNC: fail })
  await broken.serves()
  await key('before')
  writeFileSync(fail, '')
  await t.rejects(key('lost'), 'not acknowledged')
  t.notOk(existsSync(fail), 'the sync did fail')
  const { code, said } = await broken.ended
  t.equal(code, 1)
  t.match(said, /the disk with .* fails: nothing more is answered/)

  const next = serve(t, host, folder)
  await next.serves()
  const list = await ask(folder, 'keypair', 'list')
  t.match(list, /before/)
  await key('after')
  next.stop()
  t.equal((await next.ended).code, 0)
})
