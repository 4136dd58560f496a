import t from 'tap'
import { encodeIpxe } from '../../src/wire/ipxe.ts'

t.test('a script is what its commands say', async (t) => {
  t.equal(
    encodeIpxe([
      { do: 'echo', text: 'Seedling: hello (1)' },
      {
        do: 'retry',
        times: 3,
        pauseSeconds: 5,
        commands: [
          { do: 'kernel', url: 'http://192.0.2.1/k', name: 'k', arguments: ['initrd=r', 'a=b'] },
          { do: 'initrd', url: 'http://192.0.2.1/r', name: 'r' },
          { do: 'boot' }
        ]
      },
      { do: 'exit', status: 1 }
    ]),
    [
      '#!ipxe',
      'echo Seedling: hello (1)',
      'set t1:int32 0',
      ':t1',
      'kernel --name k http://192.0.2.1/k initrd=r a=b || goto t1failed',
      'initrd --name r http://192.0.2.1/r || goto t1failed',
      'boot || goto t1failed',
      ':t1failed',
      'imgfree',
      'inc t1',
      'iseq ${t1} 3 && goto t1over ||',
      'sleep 5',
      'goto t1',
      ':t1over',
      'exit 1',
      ''
    ].join('\n')
  )
})

const HOSTILE: Record<string, string> = {
  'a new line': 'a\nshell',
  'a carriage return': 'a\rshell',
  'an expansion': 'a${net0/mac}',
  'a separator': 'a;shell',
  'an alternative': 'a||shell',
  'a continuation': 'a&&shell',
  'a blank': 'a shell',
  'a back-slash at the end': 'a\\',
  'a comment': '#a',
  'a letter from elsewhere': 'aé',
  'a zero': 'a\0b',
  nothing: ''
}

t.test('hostile values are refused wherever they stand', async (t) => {
  for (const [name, value] of Object.entries(HOSTILE)) {
    const refused = { code: 'ipxe-value' }
    t.throws(
      () => encodeIpxe([{ do: 'kernel', url: 'u', name: 'k', arguments: [value] }]),
      refused,
      `argument: ${name}`
    )
    t.throws(
      () => encodeIpxe([{ do: 'kernel', url: value, name: 'k', arguments: [] }]),
      refused,
      `URL: ${name}`
    )
    t.throws(() => encodeIpxe([{ do: 'initrd', url: 'u', name: value }]), refused, `file name: ${name}`)
    if (name !== 'a blank' && name !== 'nothing')
      t.throws(() => encodeIpxe([{ do: 'echo', text: value }]), refused, `text: ${name}`)
  }
  t.throws(() => encodeIpxe([{ do: 'exit', status: -1 }]), { code: 'ipxe-value' })
  t.throws(
    () =>
      encodeIpxe([{ do: 'kernel', url: 'u', name: 'k', arguments: ['a'.repeat(1024), 'b'.repeat(1024)] }]),
    { code: 'ipxe-value' },
    'a command line that Linux would cut'
  )
})
