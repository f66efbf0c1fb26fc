// Package portal walks the web pages of the control role in a real browser, against the real program with the real pages in it.
//
// The walks themselves are config/portal/ui/walk/*.test.mjs; here the program is built with what `make ui` made, and started with a
// backend of its own. Screenshots go to test/out/portal. Without Node, Chromium or the modules of the pages the tests are skipped, with
// how to get them; with CI=true that fails.
package portal
