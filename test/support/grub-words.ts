// Reads a GRUB configuration back, after GRUB's own rules of words (manual, "Shell-like scripting"): blanks part words, `;` and new lines
// part commands, single quotes take all as it stands, double quotes leave `$`, a back-slash takes the next character as it stands.

/** Every simple command as its words, quotes taken away; what is a variable stays `$name`. @throws Error where GRUB would not read on */
export function grubWords(text: string): string[][] {
  const commands: string[][] = []
  let words: string[] = []
  let word: string | null = null
  let at = 0
  const endWord = () => {
    if (word !== null) words.push(word)
    word = null
  }
  const endCommand = () => {
    endWord()
    if (words.length > 0) commands.push(words)
    words = []
  }
  while (at < text.length) {
    const letter = text[at] as string
    if (letter === "'" || letter === '"') {
      const end = text.indexOf(letter, at + 1)
      if (end < 0) throw new Error('a quote is left open')
      word = (word ?? '') + text.slice(at + 1, end)
      at = end + 1
    } else if (letter === '\\') {
      word = (word ?? '') + (text[at + 1] ?? '')
      at += 2
    } else if (letter === '\n' || letter === ';') {
      endCommand()
      at++
    } else if (letter === ' ' || letter === '\t') {
      endWord()
      at++
    } else if ('{}|&<>'.includes(letter)) throw new Error(`a bare ${letter}`)
    else if (letter === '#' && word === null) {
      const end = text.indexOf('\n', at)
      at = end < 0 ? text.length : end
    } else {
      word = (word ?? '') + letter
      at++
    }
  }
  endCommand()
  return commands
}
