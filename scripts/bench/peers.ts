// Other people's servers to measure beside ours: Debian's packages, unpacked into .cache/bench and not installed, so that none of them starts
// by itself or takes a port, and that those which exclude each other can both be there.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const cache = join(import.meta.dirname, '../../.cache/bench')

/** The path of a program of a Debian package; downloads the package the first time. */
export function peerProgram(debianPackage: string, program: string): string {
  const folder = join(cache, debianPackage)
  const path = join(folder, program)
  if (existsSync(path)) return path
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  console.log(`fetching ${debianPackage} ...`)
  // As root apt would fetch as another user, who may not write here.
  const download = ['-q', '-o', 'APT::Sandbox::User=root', 'download', debianPackage]
  try {
    execFileSync('apt-get', download, { cwd: folder, stdio: 'pipe' })
  } catch {
    execFileSync('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=300', 'update'], { stdio: 'pipe' })
    execFileSync('apt-get', download, { cwd: folder, stdio: 'pipe' })
  }
  const file = readdirSync(folder).find((name) => name.endsWith('.deb'))
  execFileSync('dpkg', ['-x', join(folder, file ?? ''), folder])
  if (!existsSync(path)) throw new Error(`${debianPackage} has no ${program}`)
  return path
}
