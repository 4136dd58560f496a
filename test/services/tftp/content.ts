// What is in a file of a given size: no block is like another.

export function content(size: number): Buffer {
  // As loaders are kept: threads share it.
  const bytes = Buffer.from(new SharedArrayBuffer(size))
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, Math.floor(size / 4))
  for (let index = 0; index < words.length; index++) words[index] = Math.imul(index + 1, 2654435761)
  return bytes
}
