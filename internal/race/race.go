// Package race says whether this is a build for the race detector (-race), and has the hooks that several
// packages need there. In other builds all of it compiles to nothing.
package race
