import { spawnSync } from 'node:child_process'
import t from 'tap'
import { encodeGrub, type GrubCommand } from '../../src/wire/grub.ts'

const KERNEL = 'http://192.0.2.1/boot/kernel/k'
const linux = (...args: string[]): GrubCommand => ({ do: 'linux', url: KERNEL, arguments: args })

/** GRUB's own parser. */
const checked = (text: string) => spawnSync('grub-script-check', { input: text, encoding: 'utf8' })

t.test('a configuration is what its commands say, and GRUB reads it', async (t) => {
  const text = encodeGrub([
    { do: 'echo', text: 'Seedling: hello (1)' },
    {
      do: 'retry',
      times: 3,
      pauseSeconds: 5,
      commands: [
        linux('a=b', 'c=d,e'),
        { do: 'initrd', url: 'http://192.0.2.1:8080/boot/ramdisk/r' },
        { do: 'boot' }
      ]
    },
    { do: 'chainload', paths: ['/EFI/debian/shimx64.efi', '/EFI/BOOT/BOOTX64.EFI'] },
    { do: 'exit' }
  ])
  t.equal(
    text,
    [
      "echo 'Seedling: hello (1)'",
      'for turn in 1 2 3; do',
      "if linux '(http,192.0.2.1)/boot/kernel/k' 'a=b' 'c=d,e'; then",
      "if initrd '(http,192.0.2.1:8080)/boot/ramdisk/r'; then",
      'boot',
      'fi',
      'fi',
      'sleep 5',
      'done',
      "for path in '/EFI/debian/shimx64.efi' '/EFI/BOOT/BOOTX64.EFI'; do",
      'if search --no-floppy --file --set=root "$path"; then',
      'if chainloader "$path"; then',
      'boot',
      'fi',
      'fi',
      'done',
      'exit 1',
      ''
    ].join('\n')
  )
  t.match(checked(text), { status: 0, stderr: '' })
  t.not(checked(text.replace('fi\n', '')).status, 0, 'and it would tell')
})

const HOSTILE: Record<string, string> = {
  'a new line': 'a\nreboot',
  'a carriage return': 'a\rreboot',
  'an expansion': 'a$prefix',
  'an expansion in braces': 'a${prefix}',
  'the end of the quotes': "a';reboot;'",
  'a double quote': 'a"b',
  'a separator': 'a;reboot',
  'an alternative': 'a||reboot',
  'a block': 'a{b}',
  'a blank': 'a reboot',
  'a back-slash at the end': 'a\\',
  'a comment': '#a',
  'a letter from elsewhere': 'aé',
  'a zero': 'a\0b',
  nothing: ''
}

t.test('hostile values are refused wherever they stand', async (t) => {
  const refused = { code: 'grub-value' }
  for (const [name, value] of Object.entries(HOSTILE)) {
    t.throws(() => encodeGrub([linux(value)]), refused, `argument: ${name}`)
    t.throws(() => encodeGrub([{ do: 'initrd', url: `http://192.0.2.1/${value} ` }]), refused, `URL: ${name}`)
    t.throws(() => encodeGrub([{ do: 'chainload', paths: [value] }]), refused, `path: ${name}`)
    if (!['a blank', 'nothing', 'a double quote'].includes(name))
      t.throws(() => encodeGrub([{ do: 'echo', text: value }]), refused, `text: ${name}`)
  }
  t.throws(() => encodeGrub([{ do: 'echo', text: '-e' }]), refused, 'an option')
  for (const url of ['https://192.0.2.1/k', 'http://host/k', 'http://192.0.2.1', 'http://192.0.2.1:x/k', 'k'])
    t.throws(() => encodeGrub([{ do: 'initrd', url }]), refused, url)
  const loop = (times: number, pauseSeconds = 1, commands: GrubCommand[] = []): GrubCommand[] => [
    { do: 'retry', times, pauseSeconds, commands }
  ]
  for (const bad of [loop(0), loop(1.5), loop(101), loop(1, -1), loop(1, NaN)])
    t.throws(() => encodeGrub(bad), refused)
  t.throws(() => encodeGrub(loop(1, 1, [...loop(1), { do: 'boot' }])), refused, 'a loop as a condition')
  t.throws(
    () => encodeGrub([linux('a'.repeat(1000), 'b'.repeat(1000))]),
    refused,
    'a command line that Linux would cut'
  )
})
