package feed

const (
	goldenFirst = `{"f":"/ticks","n":1,"t":83333,"s":"INITECH","b":70.20,"a":70.22,"v":400,"c":"02d769ff"}`
	goldenQuote = `{"f":"/quotes/ACME","n":1042,"t":260500000,"s":"ACME","b":87.83,"a":87.85,"v":700,"c":"1eb4f5e8"}`
	goldenAny   = `{"f":"/any/a/b","n":1000000000,"t":83333333000000,"s":"ACME","b":298.89,"a":298.95,"v":100,"c":"736cd354"}`
)
