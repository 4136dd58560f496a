// Cipher suites and their algorithms (IPMI 2.0, tables 13-17, 13-18, 13-19 and 22-20).

/** RAKP authentication algorithm: which HMAC, and to how many bytes the check value of RAKP 4 is cut. */
export type AuthenticationAlgorithm = { number: number; hash: 'sha1' | 'sha256' | null; checkLength: number }
/** Integrity algorithm: which HMAC, and to how many bytes a packet's code is cut. */
export type IntegrityAlgorithm = { number: number; hash: 'sha1' | 'sha256' | null; codeLength: number }
export type ConfidentialityAlgorithm = { number: number; cipher: 'aes-128-cbc' | null }

const RAKP_NONE = { number: 0, hash: null, checkLength: 0 } as const
const RAKP_HMAC_SHA1 = { number: 1, hash: 'sha1', checkLength: 12 } as const
const RAKP_HMAC_SHA256 = { number: 3, hash: 'sha256', checkLength: 16 } as const

const INTEGRITY_NONE = { number: 0, hash: null, codeLength: 0 } as const
const HMAC_SHA1_96 = { number: 1, hash: 'sha1', codeLength: 12 } as const
const HMAC_SHA256_128 = { number: 4, hash: 'sha256', codeLength: 16 } as const

const CONFIDENTIALITY_NONE = { number: 0, cipher: null } as const
const AES_CBC_128 = { number: 1, cipher: 'aes-128-cbc' } as const

export type CipherSuite = {
  id: number
  authentication: AuthenticationAlgorithm
  integrity: IntegrityAlgorithm
  confidentiality: ConfidentialityAlgorithm
  use: SuiteUse
}

/**
 * `free`: it authenticates, protects and encrypts. `forced`: it authenticates only, or does not encrypt, so the operator
 * must name it for this BMC. `never`: suite 0, which takes any password.
 */
export type SuiteUse = 'free' | 'forced' | 'never'

const suite = (
  id: number,
  authentication: AuthenticationAlgorithm,
  integrity: IntegrityAlgorithm,
  confidentiality: ConfidentialityAlgorithm,
  use: SuiteUse
): CipherSuite => ({ id, authentication, integrity, confidentiality, use })

// The MD5 and xRC4 suites (4 to 14) are left out: nothing here may speak them.
const SUITES: readonly CipherSuite[] = [
  suite(17, RAKP_HMAC_SHA256, HMAC_SHA256_128, AES_CBC_128, 'free'),
  suite(3, RAKP_HMAC_SHA1, HMAC_SHA1_96, AES_CBC_128, 'free'),
  suite(16, RAKP_HMAC_SHA256, HMAC_SHA256_128, CONFIDENTIALITY_NONE, 'forced'),
  suite(15, RAKP_HMAC_SHA256, INTEGRITY_NONE, CONFIDENTIALITY_NONE, 'forced'),
  suite(2, RAKP_HMAC_SHA1, HMAC_SHA1_96, CONFIDENTIALITY_NONE, 'forced'),
  suite(1, RAKP_HMAC_SHA1, INTEGRITY_NONE, CONFIDENTIALITY_NONE, 'forced'),
  suite(0, RAKP_NONE, INTEGRITY_NONE, CONFIDENTIALITY_NONE, 'never')
]

/** The suite with this number, or undefined for one we do not know. */
export function cipherSuite(id: number): CipherSuite | undefined {
  return SUITES.find((row) => row.id === id)
}

/** The three numbers by which a suite travels. Compare these, not the ID: BMCs have advertised foreign algorithms. */
export type AlgorithmNumbers = { authentication: number; integrity: number; confidentiality: number }

export function algorithmNumbers(of: CipherSuite): AlgorithmNumbers {
  return {
    authentication: of.authentication.number,
    integrity: of.integrity.number,
    confidentiality: of.confidentiality.number
  }
}

/** Whether both name the same three algorithms. A match of one or two is no match. */
export function sameAlgorithms(a: AlgorithmNumbers, b: AlgorithmNumbers): boolean {
  return (
    a.authentication === b.authentication &&
    a.integrity === b.integrity &&
    a.confidentiality === b.confidentiality
  )
}

/** The known suite with exactly these algorithms, or undefined. */
export function suiteOfAlgorithms(numbers: AlgorithmNumbers): CipherSuite | undefined {
  return SUITES.find((row) => sameAlgorithms(algorithmNumbers(row), numbers))
}
