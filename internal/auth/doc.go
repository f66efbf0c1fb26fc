// Package auth says who calls the management API: local users with roles, their passwords and their sessions.
//
// Read accounts.go (the users and what follows them in the broker), login.go (from a password or a token to a Principal), users.go
// (what an administrator does), first.go (the first administrator), password.go (argon2id), throttle.go (guessing).
//
// Goroutines: Accounts.Run, owned by the caller: it follows the bucket and forgets old sessions.
//
// Passwords are stored as argon2id, tokens as SHA-256; neither is ever logged or answered again. What is kept in memory is bounded:
// 1,000 users, 32 sessions of each, 65,536 counters of failed attempts, 1,024 verified passwords.
//
// Of HTTP it knows the session cookie (cookie.go); config/admin reads the header fields.
package auth
