import t from 'tap'
import { applyJsonPatch, type PatchOperation } from '../../src/wire/json-patch.ts'

const document = {
  name: 'a',
  extra: { rack: 'r1', deep: { er: 1 } },
  'a/b': { '~x': 1 },
  list: [1],
  nothing: null
}

t.test('operations that fit', async (t) => {
  const cases: Record<string, [PatchOperation[], object]> = {
    'add a member': [
      [{ op: 'add', path: '/extra/row', value: 2 }],
      { extra: { rack: 'r1', deep: { er: 1 }, row: 2 } }
    ],
    'add replaces what is there (RFC 6902, 4.1)': [[{ op: 'add', path: '/name', value: 'b' }], { name: 'b' }],
    'add null': [[{ op: 'add', path: '/name', value: null }], { name: null }],
    'replace, three deep': [
      [{ op: 'replace', path: '/extra/deep/er', value: { x: 1 } }],
      { extra: { rack: 'r1', deep: { er: { x: 1 } } } }
    ],
    remove: [[{ op: 'remove', path: '/extra/deep' }], { extra: { rack: 'r1' } }],
    'escaped names (RFC 6901, 4)': [[{ op: 'replace', path: '/a~1b/~0x', value: 2 }], { 'a/b': { '~x': 2 } }],
    'one after the other': [
      [
        { op: 'add', path: '/extra/new', value: {} },
        { op: 'add', path: '/extra/new/x', value: 1 },
        { op: 'remove', path: '/extra/rack' }
      ],
      { extra: { deep: { er: 1 }, new: { x: 1 } } }
    ],
    'a whole list': [[{ op: 'replace', path: '/list', value: [2, 3] }], { list: [2, 3] }]
  }
  for (const [name, [operations, expected]] of Object.entries(cases))
    t.same(applyJsonPatch(document, operations), { document: { ...document, ...expected } }, name)
})

t.test('operations that do not fit leave everything as it was, and say why', async (t) => {
  const cases: Record<string, [PatchOperation, RegExp]> = {
    'remove what is not there': [{ op: 'remove', path: '/extra/x' }, /there is no "x"/],
    'replace what is not there': [{ op: 'replace', path: '/x', value: 1 }, /there is no "x"/],
    'a parent that is not there': [{ op: 'add', path: '/x/y', value: 1 }, /there is no "x"/],
    'a parent that is null': [{ op: 'add', path: '/nothing/y', value: 1 }, /there is no "nothing"/],
    'a parent that is text': [{ op: 'add', path: '/name/y', value: 1 }, /"name" is not an object/],
    'into a list': [{ op: 'add', path: '/list/0', value: 1 }, /"list" is not an object/],
    'no value': [{ op: 'add', path: '/x' }, /value is missing/],
    'no slash': [{ op: 'add', path: 'x', value: 1 }, /a path looks like/],
    'nothing but a slash': [{ op: 'remove', path: '/' }, /a path looks like/],
    'the prototype': [{ op: 'add', path: '/__proto__', value: { polluted: true } }, /not a name/],
    'the prototype as a parent': [
      { op: 'add', path: '/__proto__/polluted', value: true },
      /there is no "__proto__"/
    ],
    'an inherited member': [{ op: 'remove', path: '/toString' }, /there is no "toString"/]
  }
  const before = structuredClone(document)
  for (const [name, [operation, message]] of Object.entries(cases)) {
    const result = applyJsonPatch(document, [{ op: 'add', path: '/name', value: 'changed' }, operation])
    t.match(result, { fault: message }, name)
  }
  t.same(document, before)
  t.notOk(({} as { polluted?: boolean }).polluted)
})
