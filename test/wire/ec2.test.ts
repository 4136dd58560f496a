import t from 'tap'
import { checkEc2, readEc2, type Ec2Tree } from '../../src/wire/ec2.ts'

const TREE: Ec2Tree = {
  'instance-id': 'i-1',
  placement: { 'availability-zone': 'here' },
  'public-keys': {
    '0=default': { 'openssh-key': 'ssh-ed25519 AAAA' },
    '1=two': { 'openssh-key': 'ssh-rsa BBBB' }
  }
}

const READS: Record<string, [path: string, answer: string | undefined]> = {
  'the root lists folders with a slash and no newline at the end': [
    '',
    'instance-id\nplacement/\npublic-keys/'
  ],
  'a slash alone is the root': ['/', 'instance-id\nplacement/\npublic-keys/'],
  'a leaf': ['instance-id', 'i-1'],
  'a leaf asked as a folder': ['instance-id/', 'i-1'],
  'a folder without its slash': ['placement', 'availability-zone'],
  'a folder with its slash': ['placement/', 'availability-zone'],
  'keys carry their names in the list': ['public-keys/', '0=default\n1=two'],
  'a key is asked by its number': ['public-keys/0/', 'openssh-key'],
  'the key itself': ['public-keys/1/openssh-key', 'ssh-rsa BBBB'],
  'a key by its listed name is not there': ['public-keys/0=default', undefined],
  'nothing below a leaf': ['instance-id/x', undefined],
  'nothing of that name': ['ramdisk-id', undefined],
  'no inherited names': ['constructor', undefined]
}

t.test('reading the tree', async (t) => {
  for (const [name, [path, answer]] of Object.entries(READS)) t.equal(readEc2(TREE, path), answer, name)
})

t.test('trees that clients die of are refused', async (t) => {
  const bad: Record<string, Ec2Tree> = {
    'an empty folder': { a: {} },
    'a value of two lines': { a: 'x\ny' },
    'a name of two lines': { 'a\nb': 'x' },
    'a name with a slash': { 'a/b': 'x' },
    'no name': { '=x': 'x' }
  }
  for (const [name, tree] of Object.entries(bad)) t.throws(() => checkEc2(tree), { code: 'ec2-tree' }, name)
  t.same(checkEc2(TREE), TREE)
})
