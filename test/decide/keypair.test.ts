import t from 'tap'
import { readKeyPair } from '../../src/decide/keypair.ts'

const ED25519 = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f'

t.test('keys that are taken', async (t) => {
  // The fingerprint is what `ssh-keygen -lf` prints for this key.
  const fingerprint = 'SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA'
  for (const [name, line] of Object.entries({
    plain: ED25519,
    commented: `${ED25519} me@desk`,
    'with line end': `${ED25519}\r\n`,
    tabbed: ED25519.replace(' ', '\t')
  }))
    t.match(readKeyPair(name, line, 7), { name, publicKey: line.trim(), fingerprint, createdAt: 7 }, name)
})

t.test('keys that are refused', async (t) => {
  const cases: Record<string, [string, string, RegExp]> = {
    nothing: ['k', '', /does not begin with a key type/],
    'a private key': ['k', '-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\n', /private key/],
    'two keys': ['k', `${ED25519}\n${ED25519}`, /one key at a time/],
    'a type that SSH servers no longer take': ['k', 'ssh-dss AAAAB3NzaC1kc3M=', /known are ssh-ed25519/],
    'options before the key': ['k', `no-pty ${ED25519}`, /does not begin with a key type/],
    'half a key': ['k', 'ssh-ed25519 AAAAC3NzaC1lZDI1', /damaged/],
    'only the type': ['k', 'ssh-ed25519', /damaged/],
    'a type that the key is not': ['k', ED25519.replace('ssh-ed25519', 'ssh-rsa'), /damaged/],
    'a name with a slash': ['a/b', ED25519, /the name may have/],
    'no name': ['', ED25519, /the name may have/]
  }
  for (const [name, [key, line, message]] of Object.entries(cases))
    t.throws(() => readKeyPair(key, line, 0), { code: 'bad-request', message }, name)
})
