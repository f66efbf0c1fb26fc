# @secured{
# An API key is made with: sluice create key APPLICATION
curl -N -H "@HEADER@: $SLUICE_KEY" '@URL@'
# @}
# @open{
curl -N '@URL@'
# @}
# Go on where you were: send the last id that you saw.
# curl -N -H 'Last-Event-ID: …' …
