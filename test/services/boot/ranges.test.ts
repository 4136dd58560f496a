import t from 'tap'
import { portion } from '../../../services/boot/ranges.ts'

const TAG = '"abc"'
const whole = { status: 200, start: 0, length: 1000 }

const CASES: Record<string, { method?: string; headers: Record<string, string>; answer: object }> = {
  'no header: the whole': { headers: {}, answer: whole },
  'the first byte': { headers: { range: 'bytes=0-0' }, answer: { status: 206, start: 0, length: 1 } },
  'from the middle to the end': {
    headers: { range: 'bytes=990-' },
    answer: { status: 206, start: 990, length: 10 }
  },
  'an end beyond the end': {
    headers: { range: 'bytes=990-5000' },
    answer: { status: 206, start: 990, length: 10 }
  },
  'the last bytes': { headers: { range: 'bytes=-10' }, answer: { status: 206, start: 990, length: 10 } },
  'more last bytes than there are': {
    headers: { range: 'bytes=-5000' },
    answer: { status: 206, start: 0, length: 1000 }
  },
  'no last bytes at all': { headers: { range: 'bytes=-0' }, answer: { status: 416 } },
  'a start at the end': { headers: { range: 'bytes=1000-' }, answer: { status: 416 } },
  'backwards is no range': { headers: { range: 'bytes=5-4' }, answer: whole },
  'several ranges: the whole': { headers: { range: 'bytes=0-1,5-6' }, answer: whole },
  'other units': { headers: { range: 'lines=0-1' }, answer: whole },
  nonsense: { headers: { range: 'bytes=-' }, answer: whole },
  'HEAD has no ranges': { method: 'HEAD', headers: { range: 'bytes=0-0' }, answer: whole },
  'If-Range with our tag': {
    headers: { range: 'bytes=0-0', 'if-range': TAG },
    answer: { status: 206, start: 0, length: 1 }
  },
  'If-Range with another tag': { headers: { range: 'bytes=0-0', 'if-range': '"x"' }, answer: whole },
  'If-Range with a weak tag': { headers: { range: 'bytes=0-0', 'if-range': 'W/"abc"' }, answer: whole },
  'If-Range with a date': {
    headers: { range: 'bytes=0-0', 'if-range': 'Mon, 23 Nov 2026 00:00:00 GMT' },
    answer: whole
  },
  'If-None-Match with our tag': { headers: { 'if-none-match': '"x", W/"abc"' }, answer: { status: 304 } },
  'If-None-Match with any': { headers: { 'if-none-match': '*' }, answer: { status: 304 } },
  'If-None-Match with others': { headers: { 'if-none-match': '"x"' }, answer: whole }
}

t.test('portions', async (t) => {
  for (const [name, { method = 'GET', headers, answer }] of Object.entries(CASES))
    t.same(portion(method, headers, 1000, TAG), answer, name)
})

t.test('an empty file has no ranges', async (t) => {
  t.same(portion('GET', { range: 'bytes=0-' }, 0, TAG), { status: 416 })
  t.same(portion('GET', {}, 0, TAG), { status: 200, start: 0, length: 0 })
})
