// An argument of `node --import`: koffi cannot be imported, as if it were not installed.

export const WITHOUT_KOFFI = `data:text/javascript,${encodeURIComponent(
  `import { registerHooks } from 'node:module'
   registerHooks({ resolve(name, context, next) {
     if (name === 'koffi') throw new Error('not installed')
     return next(name, context)
   } })`
)}`
