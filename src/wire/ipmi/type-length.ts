// Type/length bytes and the text they announce (IPMI 2.0, section 43.15; FRU Information Storage Definition 1.0, section
// 13). ipmitool and FreeIPMI print the packed kinds as rubbish.
//
//   bits 7..6: 0 Unicode (in a FRU: binary) | 1 BCD plus | 2 six-bit ASCII, four characters in three bytes | 3 eight bits
//   bits 5..0: length (in a sensor record bits 4..0)

const KIND = { unicode: 0, bcdPlus: 1, sixBit: 2, eightBit: 3 } as const
const SIX = 6
const BCD_PLUS = '0123456789 -.:,_'

/**
 * The name at the end of a sensor record: `typeLength`, then what is left of the record. The standard counts characters
 * there, and many BMCs count bytes; where fewer bytes are left than counted, it must be characters.
 */
export function decodeName(typeLength: number, rest: Buffer): string {
  const kind = typeLength >> 6
  const count = typeLength & 0x1f
  const bytes = rest.subarray(0, kind === KIND.unicode ? count * 2 : count)
  const inCharacters = bytes.length < count
  const text = unpack(kind, bytes)
  return printable(inCharacters ? text.slice(0, count) : text)
}

/** A field of a FRU area: its text, or hex where it is binary. Unless the area is in English, 8-bit text is UTF-16. */
export function decodeFruField(typeLength: number, bytes: Buffer, english: boolean): string {
  const kind = typeLength >> 6
  if (kind === KIND.unicode) return bytes.toString('hex')
  return printable(unpack(kind === KIND.eightBit && !english ? KIND.unicode : kind, bytes))
}

/** The name as 8-bit text, for records that we write. */
export function encodeName(name: string): Buffer {
  const bytes = Buffer.from(name, 'latin1').subarray(0, 16)
  return Buffer.concat([Buffer.from([(KIND.eightBit << 6) | bytes.length]), bytes])
}

function unpack(kind: number, bytes: Buffer): string {
  switch (kind) {
    case KIND.unicode:
      return bytes.subarray(0, bytes.length & ~1).toString('utf16le')
    case KIND.bcdPlus:
      return Array.from(bytes, (byte) => `${BCD_PLUS[byte >> 4]}${BCD_PLUS[byte & 0x0f]}`).join('')
    case KIND.sixBit:
      return sixBitText(bytes)
    default:
      return bytes.toString('latin1')
  }
}

function sixBitText(bytes: Buffer): string {
  let text = ''
  for (let bit = 0; bit + SIX <= bytes.length * 8; bit += SIX) {
    const pair = (bytes[bit >> 3] ?? 0) | ((bytes[(bit >> 3) + 1] ?? 0) << 8)
    text += String.fromCharCode(0x20 + ((pair >> (bit & 7)) & 0x3f))
  }
  return text
}

/** Without padding, and with nothing in it that a terminal would obey. */
function printable(text: string): string {
  return text
    .replace(/[\0 ]+$/, '')
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '\ufffd')
    .trim()
}
